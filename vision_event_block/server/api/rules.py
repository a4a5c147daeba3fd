"""Rules for values, and what the API says about a value that breaks one.

A rule is a function of a value and its path, and gives violations, lazily: whoever only wants to
know whether there is one stops at the first. The codes are those of Joi, the validator whose
spelling the API's documented warning has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.limits import MAX_EXACT_INTEGER
from vision_event_block.contract.text import cut, utf16_length

if TYPE_CHECKING:
    import re

#: How much of a wrong text a violation repeats.
MAX_VALUE_CHARS: Final = 256


@dataclass(frozen=True)
class Violation:
    """One value that breaks a rule."""

    code: str
    path: str
    #: None if it is missing.
    value: Any = None

    def as_warning(self) -> dict[str, Any]:
        """The violation as the API words it. What is too large to be repeated is None."""
        value = self.value
        if isinstance(value, str):
            value = cut(value, MAX_VALUE_CHARS)
        elif isinstance(value, (dict, list)) or (value and abs(value) > MAX_EXACT_INTEGER):
            value = None
        return {
            "type": self.code,
            "path": cut(self.path, MAX_VALUE_CHARS),
            "value": value,
            "valueType": javascript_type(self.value),
        }


Rule = Callable[[Any, str], Iterator[Violation]]


def javascript_type(value: Any) -> str:
    """What `typeof` says in JavaScript."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, (int, float)) else "object"


def is_number(value: Any) -> bool:
    """Whether it is a number in JSON; in Python, a boolean is one too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text(max_chars: int | None = None, pattern: re.Pattern[str] | None = None) -> Rule:
    """A string; its length is counted as JavaScript does."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str):
            yield Violation("string.base", path, value)
        elif max_chars is not None and utf16_length(value) > max_chars:
            yield Violation("string.max", path, value)
        elif pattern is not None and not pattern.fullmatch(value):
            yield Violation("string.pattern.base", path, value)

    return check


def choice(allowed: Sequence[str]) -> Rule:
    """One of a few strings."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str) or value not in allowed:
            yield Violation("any.only", path, value)

    return check


def number(
    minimum: float | None = None, maximum: float | None = None, *, whole: bool = False
) -> Rule:
    """A number within bounds, both inclusive."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not is_number(value):
            yield Violation("number.base", path, value)
        elif abs(value) > MAX_EXACT_INTEGER:
            yield Violation("number.unsafe", path, value)
        elif whole and value != int(value):
            yield Violation("number.integer", path, value)
        elif minimum is not None and value < minimum:
            yield Violation("number.min", path, value)
        elif maximum is not None and value > maximum:
            yield Violation("number.max", path, value)

    return check


def boolean(value: Any, path: str) -> Iterator[Violation]:
    """True or false."""
    if not isinstance(value, bool):
        yield Violation("boolean.base", path, value)


def array(
    of: Rule, *, minimum: int = 0, maximum: int | None = None, length: int | None = None
) -> Rule:
    """A list whose elements keep a rule."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, list):
            yield Violation("array.base", path, value)
        elif length is not None and len(value) != length:
            yield Violation("array.length", path, value)
        elif len(value) < minimum:
            yield Violation("array.min", path, value)
        elif maximum is not None and len(value) > maximum:
            yield Violation("array.max", path, value)
        else:
            for position, element in enumerate(value):
                yield from of(element, f"{path}.{position}")

    return check


def either(first: Rule, second: Rule) -> Rule:
    """What keeps one of two rules; the violations are those of the first."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if any(True for _ in second(value, path)):
            yield from first(value, path)

    return check


def record(keys: Mapping[str, Rule], required: Sequence[str] = ()) -> Rule:
    """An object with these keys and no other."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield Violation("object.base", path, value)
            return
        for key in required:
            if key not in value:
                yield Violation("any.required", f"{path}.{key}")
        for key, inner in value.items():
            rule = keys.get(key)
            if rule is None:
                yield Violation("object.unknown", f"{path}.{key}", inner)
            else:
                yield from rule(inner, f"{path}.{key}")

    return check
