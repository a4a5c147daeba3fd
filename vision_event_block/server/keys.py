"""The keys that a server is started with: from its environment, a file, or its command line.

A key is given as `KEY` or `KEY:SCOPES`. The first colon ends the key, and everything after it must
be scopes: a misspelt one never becomes part of a key that may do everything.

Only hashes of keys are kept, and nothing here can print a key. Keys created with
`vision-events keys` are in the database (`stored_keys`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Scope = Literal["read", "write", "manage"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "manage")
ALL_SCOPES: Final[frozenset[Scope]] = frozenset(SCOPES)
#: How a scope may be written: in short, and as the API's documentation spells it.
SPELLINGS: Final[Mapping[str, Scope]] = MappingProxyType(
    {
        **{scope: scope for scope in SCOPES},
        **{f"vision-events:{scope}": scope for scope in SCOPES},
        **{f"visionEvents.{scope}": scope for scope in SCOPES},
        "device:read": "read",
        "device.read": "read",
        "device:update": "write",
        "device.update": "write",
    }
)
#: The error for a key that lacks a scope, as the API's documentation words it.
FORBIDDEN: Final = "Insufficient permissions for this resource."
#: Shorter keys can be guessed over the network; a server that others can reach refuses them.
MIN_KEY_CHARS: Final = 16
#: Shorter keys are a mistake even if only this machine can connect.
MIN_LOOPBACK_KEY_CHARS: Final = 8
HOW_TO_MAKE_ONE: Final = "`vision-events keys new NAME` creates one that nobody can guess"

#: What passes through headers and queries unchanged.
_KEY_PATTERN: Final = re.compile(r"[!-~]+")


class BadKey(ValueError):  # noqa: N818 -- named for what it is
    """This cannot be used as a key. The message does not repeat it."""


@dataclass(frozen=True)
class Holder:
    #: Stands for the key in sessions that were opened with it; hex digits.
    key_id: str
    scopes: frozenset[Scope]


@dataclass(frozen=True)
class _Given:
    digest: bytes
    scopes: frozenset[Scope]
    #: The same on every server with this key, and slow to compute, since it is stored with events.
    slow_digest: bytes = field(repr=False)
    is_short: bool


class Keys:
    def __init__(self, given: Iterable[str] = ()) -> None:
        """Parses keys as typed: `KEY`, or `KEY:read,write,manage` for some scopes only.

        Raises:
            BadKey: one is too short, cannot be sent in a header, names an unknown scope, or is
                given more than once with different scopes.
        """
        self._secret = secrets.token_bytes(32)
        self._given = [self._read(text, number) for number, text in enumerate(given, start=1)]
        if len({each.digest for each in self._given}) < len(set(self._given)):
            raise BadKey("one key is given more than once, with different scopes")

    def __repr__(self) -> str:
        return f"<{len(self._given)} keys>"

    @property
    def in_force(self) -> bool:
        return bool(self._given)

    @property
    def has_short_ones(self) -> bool:
        return any(each.is_short for each in self._given)

    def holder(self, key: str | None, salt: bytes) -> Holder | None:
        """The holder of this key; None if it is unknown."""
        # All are compared, so that the time taken does not tell which one was close.
        digest = self._digest(key or "")
        found = None
        for each in self._given:
            if hmac.compare_digest(each.digest, digest):
                found = Holder(_key_id(each, salt), each.scopes)
        return found

    def scopes_of_id(self, key_id: str, salt: bytes) -> frozenset[Scope] | None:
        """What the holder of the key with this id may do; None if it is unknown."""
        for each in self._given:
            if hmac.compare_digest(_key_id(each, salt), key_id):
                return each.scopes
        return None

    def _read(self, text: str, number: int) -> _Given:
        key, colon, names = text.partition(":")
        # Checked first: if a key contains a colon, this helps more than that the rest is too short.
        try:
            scopes = scopes_named(names) if colon else ALL_SCOPES
        except ValueError:  # not repeated, since it may be part of the key
            raise BadKey(
                f"key {number} has an unknown scope. The first colon ends a key, and its scopes "
                f"follow, separated by commas: {', '.join(SPELLINGS)}. No key contains a colon"
            ) from None
        if len(key) < MIN_LOOPBACK_KEY_CHARS:
            raise BadKey(f"a key needs at least {MIN_KEY_CHARS} characters; {HOW_TO_MAKE_ONE}")
        if not _KEY_PATTERN.fullmatch(key):
            raise BadKey("a key must be ASCII characters without spaces")
        return _Given(
            self._digest(key),
            scopes,
            hashlib.scrypt(key.encode(), salt=b"vision-events sessions", n=2**14, r=8, p=1),
            is_short=len(key) < MIN_KEY_CHARS,
        )

    def _digest(self, key: str) -> bytes:
        text = key.encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, b"key " + text, hashlib.sha256).digest()


def scopes_named(names: str) -> frozenset[Scope]:
    """The scopes of a list such as `read,vision-events:write`.

    Raises:
        ValueError: one of them is unknown.
    """
    scopes = [SPELLINGS.get(name) for name in names.split(",")]
    if None in scopes:
        raise ValueError(f"scopes are {', '.join(SCOPES)}, separated by commas")
    return frozenset(filter(None, scopes))


def _key_id(given: _Given, salt: bytes) -> str:
    return hmac.new(salt, given.slow_digest, hashlib.sha256).hexdigest()
