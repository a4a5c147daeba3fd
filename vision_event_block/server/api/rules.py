"""Rules for values: the checks and the OpenAPI schema, written once.

A rule is called with a value and its path, and yields violations lazily: a caller that only needs
to know whether there is one stops at the first. The codes are those of Joi, the validator whose
spelling the API's documented warning uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.limits import MAX_EXACT_INTEGER
from vision_event_block.contract.text import cut, utf16_length

if TYPE_CHECKING:
    import re

#: A violation repeats at most this much of an invalid text.
MAX_VALUE_CHARS: Final = 256


@dataclass(frozen=True)
class Violation:
    """One value that breaks a rule."""

    code: str
    path: str
    #: None if the value is missing.
    value: Any = None
    #: Harmless: the object or list that holds the value is kept as received.
    is_harmless: bool = False

    def as_warning(self) -> dict[str, Any]:
        """The violation in the API's format. A value that is too large to repeat is None."""
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


Check = Callable[[Any, str], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    check: Check
    #: The rule as JSON Schema.
    schema: Mapping[str, Any]
    #: The named schemas that it refers to.
    shapes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, value: Any, path: str) -> Iterator[Violation]:
        return self.check(value, path)

    def allows(self, value: Any) -> bool:
        return next(self.check(value, ""), None) is None

    def described(self, words: str) -> Rule:
        return replace(self, schema={**self.schema, "description": words})

    def named(self, name: str, words: str) -> Rule:
        """The same rule, as a named schema in the document."""
        shape = {"title": name, "description": words, **self.schema}
        reference = {"$ref": f"#/components/schemas/{name}"}
        return replace(self, schema=reference, shapes={**self.shapes, name: shape})


def lenient(rule: Rule) -> Rule:
    """The same rule, with harmless violations."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        return (replace(violation, is_harmless=True) for violation in rule(value, path))

    return replace(rule, check=check)


def nullable(rule: Rule) -> Rule:
    """A value that follows a rule, or null, which counts as absent."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if value is not None:
            yield from rule(value, path)

    return Rule(check, {"anyOf": [rule.schema, {"type": "null"}]}, rule.shapes)


def javascript_type(value: Any) -> str:
    """What `typeof` says in JavaScript."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, (int, float)) else "object"


def is_number(value: Any) -> bool:
    """Whether the value is a number in JSON; in Python, booleans are numbers too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text(
    max_chars: int | None = None,
    pattern: re.Pattern[str] | None = None,
    *,
    min_chars: int | None = None,
    form: str | None = None,
) -> Rule:
    """A string; its length is counted as in JavaScript. A `form` is documented, not checked."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str):
            yield Violation("string.base", path, value)
        elif min_chars is not None and utf16_length(value) < min_chars:
            yield Violation("string.min", path, value)
        elif max_chars is not None and utf16_length(value) > max_chars:
            yield Violation("string.max", path, value)
        elif pattern is not None and not pattern.fullmatch(value):
            yield Violation("string.pattern.base", path, value)

    bounds = {"format": form, "minLength": min_chars, "maxLength": max_chars}
    bounds["pattern"] = None if pattern is None else f"^{pattern.pattern}$"
    return Rule(check, {"type": "string", **_given(bounds)})


def choice(allowed: Sequence[str]) -> Rule:
    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str) or value not in allowed:
            yield Violation("any.only", path, value)

    return Rule(check, {"type": "string", "enum": list(allowed)})


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

    bounds = _given({"minimum": minimum, "maximum": maximum})
    return Rule(check, {"type": "integer" if whole else "number", **bounds})


def boolean() -> Rule:
    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, bool):
            yield Violation("boolean.base", path, value)

    return Rule(check, {"type": "boolean"})


def array(
    of: Rule, *, minimum: int | None = None, maximum: int | None = None, length: int | None = None
) -> Rule:
    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, list):
            yield Violation("array.base", path, value)
        elif length is not None and len(value) != length:
            yield Violation("array.length", path, value)
        elif minimum is not None and len(value) < minimum:
            yield Violation("array.min", path, value)
        elif maximum is not None and len(value) > maximum:
            yield Violation("array.max", path, value)
        else:
            for position, element in enumerate(value):
                yield from of.check(element, f"{path}.{position}")

    bounds = {"minItems": length if minimum is None else minimum}
    bounds["maxItems"] = length if maximum is None else maximum
    return Rule(check, {"type": "array", "items": of.schema, **_given(bounds)}, of.shapes)


def either(first: Rule, *others: Rule) -> Rule:
    """A value that follows one of these rules; otherwise, the violations of the first."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not any(rule.allows(value) for rule in others):
            yield from first.check(value, path)

    rules = (first, *others)
    return Rule(check, {"anyOf": [rule.schema for rule in rules]}, _shapes_of(rules))


def record(
    keys: Mapping[str, Rule],
    required: Sequence[str] = (),
    *,
    is_open: bool = False,
    is_tolerant: bool = False,
) -> Rule:
    """An object with these keys and no others.

    Other keys are valid in an open one, and harmless in a tolerant one.
    """

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield Violation("object.base", path, value)
            return
        for key in required:
            if key not in value:
                yield Violation("any.required", f"{path}.{key}")
        for key, inner in value.items():
            rule = keys.get(key)
            if rule is not None:
                yield from rule.check(inner, f"{path}.{key}")
            elif not is_open:
                yield Violation("object.unknown", f"{path}.{key}", inner, is_tolerant)

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: rule.schema for key, rule in keys.items()},
    }
    if required:
        schema["required"] = list(required)
    if not (is_open or is_tolerant):
        schema["additionalProperties"] = False
    return Rule(check, schema, _shapes_of(keys.values()))


def _given(bounds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _shapes_of(rules: Iterable[Rule]) -> dict[str, Mapping[str, Any]]:
    return {name: shape for rule in rules for name, shape in rule.shapes.items()}
