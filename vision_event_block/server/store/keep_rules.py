"""How long events are kept, by use case and by result; parses such rules and sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.contract.limits import QC_RESULTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?) ?(h|d|w|y)", re.ASCII)
_DAYS: Final = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.0}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d+)?) ?(?:([kMGT])(i?))?B?", re.ASCII | re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
#: Less means that a unit was forgotten, which would delete nearly everything.
MIN_SIZE_BYTES: Final = 1_000_000
FOREVER: Final = "forever"
#: Longer ages are a mistake, and the range of times in a database is limited.
MAX_DAYS: Final = 36_525


@dataclass(frozen=True)
class KeepRule:
    """Matching events are deleted at an age, unless a more specific rule matches."""

    #: None to keep them forever.
    days: float | None
    #: The id or the name of the use case it applies to; None for all.
    use_case: str | None = None
    #: The `eventData.result` it applies to; None for all.
    result: str | None = None

    @property
    def words(self) -> str:
        """The rule as a page shows it.

        >>> KeepRule(7.0, use_case="line-4", result="pass").words
        'line-4, pass: 7 days'
        >>> KeepRule(1.0).words
        'events: 1 day'
        """
        parts = [each for each in (self.use_case, self.result) if each is not None]
        unit = "day" if self.days == 1 else "days"
        age = "forever" if self.days is None else f"{self.days:g} {unit}"
        return f"{', '.join(parts) or 'events'}: {age}"

    @classmethod
    def of(cls, text: str) -> KeepRule:
        """Parses a rule from the command line.

        >>> KeepRule.of("pass=7d")
        KeepRule(days=7.0, use_case=None, result='pass')
        >>> KeepRule.of("line-4:30d")
        KeepRule(days=30.0, use_case='line-4', result=None)

        Raises:
            ValueError: it is invalid.
        """
        use_case, _, rest = text.rpartition(":")
        result, _, age = rest.rpartition("=")
        span = _AGE.fullmatch(age.strip())
        if (span is None and age.strip() != FOREVER) or (span and not float(span[1])):
            raise ValueError(
                f"{text!r} says no age; write an age such as 12h, 7d, 6w, 2y or {FOREVER}, "
                "RESULT=AGE, USE_CASE:AGE or USE_CASE:RESULT=AGE"
            )
        days = None if span is None else float(span[1]) * _DAYS[span[2]]
        if days is not None and days > MAX_DAYS:
            raise ValueError(f"{text!r} is more than a century; write {FOREVER}")
        wanted = result.strip() or None
        if wanted not in (None, *QC_RESULTS):
            # A rule that matches nothing would leave the events it should keep to the other rules.
            raise ValueError(f"{text!r}: the result of a check is {' or '.join(QC_RESULTS)}")
        return cls(days, use_case.strip() or None, wanted)


def size_of(text: str) -> int:
    """Parses a size into bytes: units are decimal, except `MiB` and the like.

    >>> size_of("200GB"), size_of("1.5 MiB"), size_of("4000000")
    (200000000000, 1572864, 4000000)

    Raises:
        ValueError: it is invalid, or less than 1 MB.
    """
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found is not None:
        base = 1024 if found[3] else 1000
        size = int(float(found[1]) * base ** _POWERS[(found[2] or "").lower()])
    if size < MIN_SIZE_BYTES:
        raise ValueError(
            f"{text!r} is no size of 1 MB or more; write one such as 200GB, 1.5TB or 512MiB"
        )
    return size


@dataclass(frozen=True)
class Ages:
    """The ages at which events of one use case are deleted, in days; None for never."""

    #: For events with one of these results.
    by_result: dict[str, float | None]
    #: For all other events.
    others: float | None


def ages_of(rules: Iterable[KeepRule], names: Collection[str]) -> Ages:
    """The ages that apply to a use case with these names.

    A rule for the use case takes precedence over one for all, and a rule for a result over one for
    all results. If two are equally specific (use case only, result only), the longer age applies.
    """
    fitting = [rule for rule in rules if rule.use_case is None or rule.use_case in names]
    results = {rule.result for rule in fitting if rule.result is not None}
    by_result = {result: _age(fitting, result) for result in sorted(results)}
    return Ages(by_result, _age(fitting, None))


def _age(rules: Iterable[KeepRule], result: str | None) -> float | None:
    fitting = [rule for rule in rules if rule.result in (None, result)]
    if not fitting:
        return None

    def specific(rule: KeepRule) -> int:
        return (rule.use_case is not None) + (rule.result is not None)

    most = max(map(specific, fitting))
    ages = [rule.days for rule in fitting if specific(rule) == most]
    return None if None in ages else max(age for age in ages if age is not None)
