"""The reader's filters, as written in the address of a page.

They are kept only in the address, so it can be shared. It can express the same as the API's
query: this module translates, and the query's own checks decide what is valid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from vision_event_block.server.page.formatting import DURATION, TYPE_NAMES
from vision_event_block.server.store.errors import BadQuery
from vision_event_block.server.store.query_filters import filters_of, moment_in
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fastapi import Request

    from vision_event_block.server.store.filters import Filters

RANGES: Final = {
    "1h": ("1 h", timedelta(hours=1)),
    "8h": ("8 h", timedelta(hours=8)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
}
OPERATORS: Final = {
    "eq": "is",
    "neq": "is not",
    "contains": "contains",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
}
#: Name in the address -> name in the query, and name for the reader.
_TEXTS: Final = {
    "device": ("deviceId", "Device"),
    "stream": ("streamId", "Stream"),
    "workflow": ("workflowId", "Workflow"),
    "external": ("externalId", "External id"),
}
#: Filters with their operator in another field, such as `device_is`.
_COMPARED: Final = (*_TEXTS, "images")
_ROW: Final = ("meta_key", "meta_is", "meta_value")
_SEEN: Final = ("class", "min_confidence", "max_confidence")
_DATA: Final = {"result": "Result", "severity": "Severity"}
_PLAIN: Final = (
    *("range", "start", "end", "type", "class", "min_confidence", "max_confidence"),
    *("feedback", "warnings", "pinned", "feedback_events", "images", "longer_than"),
    *_TEXTS,
    *_DATA,
)
#: Filters whose leading and trailing spaces count. A metadata value may even be a single space.
_EXACT: Final = frozenset((*_TEXTS, "class", "meta_key"))
_MAX_DIGITS: Final = 9
#: Filters with two settings, and the words for each.
_FLAGS: Final = {
    "warnings": ("With warnings", "Without warnings"),
    "pinned": ("Pinned", "Not pinned"),
    "feedback_events": ("With operator feedback", "Without operator feedback"),
}
#: Not filters: which of an event's pictures the grid shows, the time at which the grid begins, and
#: what charts are split by and compared with.
_DISPLAY: Final = ("picture", "at", "split", "beside")
#: The parameters that restrict the time.
TIMES: Final = ("range", "start", "end", "at")


@dataclass(frozen=True)
class Chip:
    """An active filter, the address without it, and the form's field that changes it."""

    name: str
    query: str
    field: str
    moment: datetime | None = None


@dataclass(frozen=True)
class FilterQuery:
    """The known parameters of an address, in a fixed order and without empty ones."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_request(cls, request: Request) -> FilterQuery:
        return cls.of(request.query_params.multi_items())

    @classmethod
    def of(cls, given: Iterable[tuple[str, str]]) -> FilterQuery:
        by_name: dict[str, list[str]] = {}
        for name, value in given:
            is_exact = name == "meta_value" or (name in _EXACT and value.strip())
            by_name.setdefault(name, []).append(value if is_exact else value.strip())
        if "operator_feedback" in by_name.get("type", ()):
            by_name.pop("feedback_events", None)  # the type is requested explicitly
        for name in ("start", "end"):
            by_name[name] = [_unchanged(by_name, name)]
        pairs = []
        for name in (*_DISPLAY, *_PLAIN):
            values = by_name.get(name, [])
            for value in dict.fromkeys(values) if name == "type" else values[:1]:
                if value:
                    pairs.append((name, value))
                    operator = by_name.get(f"{name}_is", ["eq"])[0]
                    if name in _COMPARED and operator not in ("", "eq"):
                        pairs.append((f"{name}_is", operator))
        columns = (by_name.get(name, []) for name in _ROW)
        for row in zip(*columns, strict=False):
            if row[0] and row[2]:
                pairs += zip(_ROW, row, strict=True)
        return cls(tuple(pairs))

    def one(self, name: str) -> str:
        """The value under a name; empty if there is none."""
        return next((value for key, value in self.pairs if key == name), "")

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def metadata_rows(self) -> list[tuple[str, str, str]]:
        """Key, operator and value of each condition on the metadata."""
        return list(zip(*(self.every(name) for name in _ROW), strict=True))

    def moment(self, name: str) -> datetime | None:
        return _moment(self.one(name))

    @property
    def query(self) -> str:
        return urlencode(self.pairs)

    @property
    def is_filtered(self) -> bool:
        return any(name not in _DISPLAY for name, _ in self.pairs)

    def without(self, *names: str) -> FilterQuery:
        return FilterQuery(tuple(pair for pair in self.pairs if pair[0] not in names))

    def having(self, **values: str) -> FilterQuery:
        """With these values in place of any others under the same names."""
        return FilterQuery.of((*self.without(*values).pairs, *values.items()))

    def and_then(self, **values: str | int) -> str:
        """The query string, with additions for this one address."""
        return urlencode((*self.pairs, *values.items()))

    def at_or_before(self, moment: datetime) -> FilterQuery:
        """With the grid starting there. Addresses have milliseconds, events microseconds."""
        return self.having(at=iso_milliseconds(moment + timedelta(microseconds=999)))

    def place(self) -> datetime | None:
        """The time at which the grid begins.

        Raises:
            BadQuery: it cannot be read.
        """
        return moment_in(dict(self.pairs), "at")

    def also(self, name: str, value: str) -> FilterQuery:
        """With this value added to the other filters."""
        return self.without(f"{name}_is").having(**{name: value})

    def also_metadata(self, key: str, value: str, operator: str = "eq") -> FilterQuery:
        """With this value of a metadata key added to the other filters."""
        others = [row for row in self.metadata_rows() if row[:2] != (key, operator)]
        return self._with_rows((*others, (key, operator, value)))

    def chips(self) -> Iterator[Chip]:
        """The active filters, each with the address without it."""
        for key, name in (("at", "At"), ("start", "From"), ("end", "To")):
            if self.one(key):
                yield self._chip(name, key, moment=_moment(self.one(key)))
        for kind in self.every("type"):
            others = tuple(pair for pair in self.pairs if pair != ("type", kind))
            words = TYPE_NAMES.get(kind, kind)
            yield Chip(words, FilterQuery(others).query, f"f-type-{kind}")
        if any(map(self.one, _SEEN)):
            yield self._chip(self._seen_in_words(), *_SEEN)
        yield from self._value_chips()
        rows = self.metadata_rows()
        for number, row in enumerate(rows):
            rest = self._with_rows(rows[:number] + rows[number + 1 :])
            yield Chip(_compared(*row), rest.query, f"f-meta-{number + 1}")

    def _value_chips(self) -> Iterator[Chip]:
        for key, name in {**_DATA, "feedback": "Feedback"}.items():
            if value := self.one(key):
                yield self._chip(f"{name}: {value}", key)
        for key, (yes, no) in _FLAGS.items():
            if value := self.one(key):
                yield self._chip(yes if value == "yes" else no, key)
        if seconds := self.one("longer_than"):
            yield self._chip(f"Longer than {seconds} s", "longer_than")
        for key, name in {"images": "Images", **{key: it[1] for key, it in _TEXTS.items()}}.items():
            if value := self.one(key):
                words = _compared(name, self.one(f"{key}_is") or "eq", value)
                yield self._chip(words, key, f"{key}_is")

    def _chip(self, words: str, *names: str, moment: datetime | None = None) -> Chip:
        return Chip(words, self.without(*names).query, f"f-{names[0]}", moment)

    def _with_rows(self, rows: Iterable[tuple[str, str, str]]) -> FilterQuery:
        """With these conditions on the metadata, and no others."""
        pairs = [pair for row in rows for pair in zip(_ROW, row, strict=True)]
        return FilterQuery((*self.without(*_ROW).pairs, *pairs))

    def filters(
        self, use_case_id: str, *, types: Mapping[str, Sequence[str]], now: datetime
    ) -> Filters:
        """The filters for the store.

        Args:
            use_case_id: The use case of the events.
            types: The types seen for each metadata key; an address holds only text.
            now: The time from which a range counts back.

        Raises:
            BadQuery: the address holds something that cannot be read.
        """
        body: dict[str, Any] = {
            "useCaseId": use_case_id,
            "eventTypes": self.every("type"),
            **self._period(now),
            "detection": self._detections(),
        }
        if images := self.one("images"):
            if not images.isdecimal() or len(images) > _MAX_DIGITS:
                raise BadQuery("the number of images must be a whole number")
            body["imageCount"] = {
                "operator": self.one("images_is") or "eq",
                "value": int(images),
            }
        for name, (key, _) in _TEXTS.items():
            if value := self.one(name):
                body[key] = {"operator": self.one(f"{name}_is") or "eq", "value": value}
        body["eventFieldFilters"] = [
            {"column": name, "operator": "eq", "value": self.one(name)}
            for name in _DATA
            if self.one(name)
        ]
        body["customMetadataFilters"] = [
            {"field": key, "operator": operator, **_typed(value, operator, types.get(key, ()))}
            for key, operator, value in self.metadata_rows()
        ]
        if longer_than := self.one("longer_than"):
            seconds = _number(longer_than)
            if seconds is None:
                raise BadQuery("the duration must be a number of seconds")
            body["customMetadataFilters"].append(
                {"field": DURATION, "operator": "gt", "value": seconds, "type": "number"}
            )
        if self.one("feedback_events"):
            body["eventFieldFilters"].append(
                {"column": "event_type", "operator": "neq", "value": "operator_feedback"}
            )
        body["feedbackStatus"] = self.one("feedback") or None
        warnings = self.one("warnings")
        body["hasWarnings"] = warnings == "yes" if warnings else None
        pinned = self.one("pinned")
        body["isPinned"] = pinned == "yes" if pinned else None
        return filters_of(body)

    def _period(self, now: datetime) -> dict[str, str]:
        period = {}
        if span := self.one("range"):
            if span not in RANGES:
                raise BadQuery(f"there is no time range {span!r}")
            period["startTime"] = iso_milliseconds(now - RANGES[span][1])
        for name, key in (("start", "startTime"), ("end", "endTime")):
            if moment := self.one(name):
                period[key] = moment
        return period

    def _detections(self) -> list[dict[str, Any]]:
        """One condition for each bound of the confidence, each with the class."""
        classes = {"value": self.one("class")} if self.one("class") else {}
        bounds = []
        for name, operator in (("min_confidence", "gte"), ("max_confidence", "lte")):
            if text := self.one(name):
                share = _number(text)
                if share is None or not 0 <= share <= 1:
                    raise BadQuery("the confidence must be a number from 0 to 1")
                bounds.append({"operator": operator, "value": share})
        if bounds:
            return [{**classes, "confidence": bound} for bound in bounds]
        return [classes] if classes else []

    def _seen_in_words(self) -> str:
        seen, floor, ceiling = map(self.one, _SEEN)
        words = [f"Class: {seen}" if seen else "Anything seen"]
        words += [f"from {_percent(floor)}"] if floor else []
        words += [f"up to {_percent(ceiling)}"] if ceiling else []
        return " ".join(words)


def _typed(value: str, operator: str, seen: Sequence[str]) -> dict[str, Any]:
    """The value, converted to a type that its key has, if possible."""
    lowered = value.strip().lower()
    is_order = operator in ("gt", "gte", "lt", "lte")
    number = _number(value)
    if number is not None and ("number" in seen or (is_order and "string" not in seen)):
        return {"value": number, "type": "number"}
    if lowered in ("true", "false", "yes", "no") and "boolean" in seen:
        return {"value": lowered in ("true", "yes"), "type": "boolean"}
    return {"value": value, "type": "string"}


def _moment(text: str) -> datetime | None:
    try:
        return moment_in({"time": text}, "time")
    except BadQuery:
        return None


def _unchanged(given: Mapping[str, list[str]], name: str) -> str:
    """The time; a form shows only minutes, so one that was not changed keeps its precision."""
    now, was = (given.get(key, [""])[0] for key in (name, f"{name}_was"))
    minutes = [
        moment and moment.replace(second=0, microsecond=0) for moment in map(_moment, (now, was))
    ]
    return was if was and minutes[0] == minutes[1] is not None else now


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _compared(name: str, operator: str, value: str) -> str:
    words = OPERATORS.get(operator, operator)
    value = value if value == value.strip() else f"“{value}”"
    return f"{name}: {value}" if operator == "eq" else f"{name} {words} {value}"


def _percent(text: str) -> str:
    number = _number(text)
    return text if number is None else f"{number:.0%}"
