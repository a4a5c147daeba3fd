"""The use cases that events belong to."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import exists, func, insert, or_, select, update

from vision_event_block.contract import limits
from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import (
    AlreadyActive,
    DuplicateName,
    LimitReached,
    NoSuchUseCase,
)
from vision_event_block.server.store.facets import EVENT_TYPE
from vision_event_block.server.store.fields import is_field
from vision_event_block.server.store.records import Status, UseCase, is_storable
from vision_event_block.server.store.timestamps import moment_of, now_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.timestamps import Clock

_ID_CHARS: Final = 8
_ID_ALPHABET: Final = string.ascii_lowercase + string.digits

_table = schema.use_cases


class UseCases:
    """The use cases of a database. Archiving hides one and keeps its events."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list(self, status: Status | None = None) -> Sequence[UseCase]:
        """The use cases with a status, or all, sorted by name."""
        query = _described().order_by(_table.c.folded_name)
        if status is not None:
            query = query.where(_table.c.status == status)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            return [_use_case(row, _event_types(connection, row.no)) for row in rows]

    def get(self, use_case_id: str) -> UseCase | None:
        return self._one(_table.c.id == use_case_id) if is_storable(use_case_id) else None

    def find(self, id_or_name: str) -> UseCase | None:
        """Finds a use case of any status by its id, or else by its exact name."""
        if not is_storable(id_or_name):
            return None
        is_its_name = (_table.c.folded_name == id_or_name.casefold()) & (
            _table.c.name == id_or_name
        )
        return self.get(id_or_name) or self._one(is_its_name)

    def create(
        self,
        name: str,
        id: str | None = None,  # noqa: A002 - the API's word
        *,
        at_most: int | None = None,
    ) -> UseCase:
        """Creates an active use case. Without an id it gets a short one of letters and digits.

        Raises:
            LimitReached: there are `at_most` already.
            DuplicateName: the name, whatever its case, or the id is taken.
            ValueError: the name or the id is empty or too long.
        """
        name = _checked_name(name)
        if id is not None and (not is_storable(id) or len(id) > limits.MAX_USE_CASE_ID_CHARS):
            raise ValueError(
                f"an id of a use case has 1 to {limits.MAX_USE_CASE_ID_CHARS} characters"
            )
        use_case_id = id or "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))
        now = now_us(self._clock)
        with self._database.writing() as connection:
            taken = or_(_table.c.folded_name == name.casefold(), _table.c.id == use_case_id)
            if connection.execute(select(exists().where(taken))).scalar():
                raise DuplicateName(f"there is a use case {name!r}, or one with the same id")
            known = connection.execute(select(func.count()).select_from(_table)).scalar_one()
            if at_most is not None and known >= at_most:
                raise LimitReached(
                    f"there are {known:,} use cases, and no more are made for events: look whether "
                    "a client sends wrong ids, and create the missing one on the page"
                )
            last = connection.execute(select(func.max(_table.c.no))).scalar() or 0
            connection.execute(
                insert(_table).values(
                    no=last + 1,
                    id=use_case_id,
                    name=name,
                    folded_name=name.casefold(),
                    status="active",
                    created_us=now,
                    updated_us=now,
                    event_count=0,
                    changes=0,
                )
            )
        return self._known(use_case_id)

    def update(
        self,
        use_case_id: str,
        *,
        name: str | None = None,
        status: Status | None = None,
    ) -> UseCase:
        """Changes the name or the status of a use case, or both.

        Raises:
            NoSuchUseCase: no use case has this id.
            DuplicateName: another use case has this name.
            ValueError: the name is empty or too long.
        """
        self._known(use_case_id)
        values: dict[str, Any] = {"updated_us": now_us(self._clock)}
        if name is not None:
            values["name"] = _checked_name(name)
            values["folded_name"] = values["name"].casefold()
        if status is not None:
            values["status"] = status
        with self._database.writing() as connection:
            same_name = (_table.c.folded_name == values.get("folded_name")) & (
                _table.c.id != use_case_id
            )
            if name is not None and connection.execute(select(exists().where(same_name))).scalar():
                raise DuplicateName(f"there is another use case {values['name']!r}")
            connection.execute(update(_table).where(_table.c.id == use_case_id).values(values))
        return self._known(use_case_id)

    def archive(self, use_case_id: str) -> UseCase:
        """Archives a use case; it may be archived already.

        Raises:
            NoSuchUseCase: no use case has this id.
        """
        return self.update(use_case_id, status="inactive")

    def unarchive(self, use_case_id: str) -> UseCase:
        """Makes an archived use case active again.

        Raises:
            NoSuchUseCase: no use case has this id.
            AlreadyActive: it is not archived.
        """
        if self._known(use_case_id).status == "active":
            raise AlreadyActive(f"the use case {use_case_id!r} is not archived")
        return self.update(use_case_id, status="active")

    def _one(self, condition: ColumnElement[bool]) -> UseCase | None:
        with self._database.reading() as connection:
            row = connection.execute(_described().where(condition)).one_or_none()
            return None if row is None else _use_case(row, _event_types(connection, row.no))

    def _known(self, use_case_id: str) -> UseCase:
        use_case = self.get(use_case_id)
        if use_case is None:
            raise NoSuchUseCase(f"there is no use case {use_case_id!r}")
        return use_case


def number_of(connection: Connection, use_case_id: str) -> int | None:
    """The number by which other tables refer to a use case; None if there is none."""
    if not is_storable(use_case_id):
        return None
    return connection.execute(select(_table.c.no).where(_table.c.id == use_case_id)).scalar()


def _checked_name(name: str) -> str:
    name = name.strip()
    if not is_storable(name) or len(name) > limits.MAX_USE_CASE_ID_CHARS:
        raise ValueError(
            f"the name of a use case has 1 to {limits.MAX_USE_CASE_ID_CHARS} characters"
        )
    return name


def _described() -> Select[Any]:
    newest = (
        select(func.max(schema.events.c.time_us))
        .where(schema.events.c.use_case_no == _table.c.no)
        .scalar_subquery()
    )
    return select(_table, newest.label("newest_us"))


def _event_types(connection: Connection, use_case_no: int) -> tuple[str, ...]:
    """The event types that occur in a use case, in the API's order."""
    fields, facets = schema.fields.c, schema.facets.c
    number = select(fields.no).where(fields.use_case_no == use_case_no, is_field(EVENT_TYPE))
    field_no = number.scalar_subquery()
    occurs = [
        exists().where(facets.field_no == field_no, facets.key == name).label(name)
        for name in limits.EVENT_TYPES
    ]
    row = connection.execute(select(*occurs)).one()
    return tuple(name for name, found in zip(limits.EVENT_TYPES, row, strict=True) if found)


def _use_case(row: Any, event_types: tuple[str, ...]) -> UseCase:
    return UseCase(
        id=row.id,
        name=row.name,
        status=cast("Status", row.status),
        created_at=moment_of(row.created_us),
        updated_at=moment_of(row.updated_us),
        event_count=row.event_count,
        last_event_at=None if row.newest_us is None else moment_of(row.newest_us),
        event_types=event_types,
    )
