"""How long events are kept, by use case and by result, and how such rules and sizes are written."""

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
#: Less is a unit that was forgotten, and would cost nearly everything that is there.
MIN_SIZE_BYTES: Final = 1_000_000
FOREVER: Final = "forever"
#: Longer ages are a mistake, and the clock of a database ends somewhere.
MAX_DAYS: Final = 36_525


@dataclass(frozen=True)
class KeepRule:
    """Events that fit are deleted at an age, unless a more specific rule fits."""

    #: None for never.
    days: float | None
    #: The id or the name of the only one that it is for.
    use_case: str | None = None
    #: The only `eventData.result` that it is for.
    result: str | None = None

    @property
    def words(self) -> str:
        """The rule as a page says it.

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
        """A rule as it is spelt on a command line.

        >>> KeepRule.of("pass=7d")
        KeepRule(days=7.0, use_case=None, result='pass')
        >>> KeepRule.of("line-4:30d")
        KeepRule(days=30.0, use_case='line-4', result=None)

        Raises:
            ValueError: it cannot be read.
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
            # A rule that fits nothing leaves what it was to keep to the other rules.
            raise ValueError(f"{text!r}: the result of a check is {' or '.join(QC_RESULTS)}")
        return cls(days, use_case.strip() or None, wanted)


def size_of(text: str) -> int:
    """The bytes in a size as people write it: decimal, but for `MiB` and the like.

    >>> size_of("200GB"), size_of("1.5 MiB"), size_of("4000000")
    (200000000000, 1572864, 4000000)

    Raises:
        ValueError: it cannot be read, or is next to nothing.
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

    #: Of those with one of these results.
    by_result: dict[str, float | None]
    #: Of all others.
    others: float | None


def ages_of(rules: Iterable[KeepRule], names: Collection[str]) -> Ages:
    """What holds for a use case that is known by these names.

    A rule for it comes before one for all, and one for a result before one for all results. Of two
    that are as specific, one for the use case and one for the result, the longer age holds.
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
