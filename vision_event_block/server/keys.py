"""Who may do what: keys with scopes, and the sessions of browsers that showed one.

A key is kept as a keyed hash only, made with a secret that never leaves the process. Nothing here
can print one. Sessions are signed with a secret that comes from all keys together, so that servers
with the same keys know each other's sessions, and one that was started anew knows its old ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Scope = Literal["read", "write", "manage"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "manage")
ALL_SCOPES: Final[frozenset[Scope]] = frozenset(SCOPES)
#: Shorter ones can be guessed over the network.
MIN_KEY_CHARS: Final = 8
SESSION_LIFETIME_S: Final = 12 * 3600

#: What can stand in a header and in a query without being changed on the way.
_KEY_PATTERN: Final = re.compile(r"[!-~]+")


class BadKey(ValueError):  # noqa: N818 -- named for what it is
    """This cannot be used as a key. The message does not repeat it."""


@dataclass(frozen=True)
class _Known:
    digest: bytes
    scopes: frozenset[Scope]


class Keys:
    """The keys of a server. Without any, nobody needs one."""

    def __init__(
        self,
        given: Iterable[str] = (),
        *,
        session_lifetime_s: int = SESSION_LIFETIME_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes keys as they are typed: `KEY`, or `KEY:read,write,manage` for some scopes only.

        Raises:
            BadKey: one is too short, or holds what a header cannot.
        """
        given = list(given)
        self._secret = secrets.token_bytes(32)
        self._session_secret = _common_secret(given) if given else self._secret
        self._session_lifetime_s = session_lifetime_s
        self._clock = clock
        self._known = [self._read(text) for text in given]

    def __repr__(self) -> str:
        return f"<{len(self._known)} keys>"

    @property
    def in_force(self) -> bool:
        """Whether requests need a key."""
        return bool(self._known)

    def scopes_of(self, key: str | None) -> frozenset[Scope] | None:
        """What the holder of this key may do; None if it is none of ours."""
        if not self.in_force:
            return ALL_SCOPES
        position = self._position(key)
        return None if position is None else self._known[position].scopes

    def open_session(self, key: str) -> str | None:
        """What a browser keeps instead of the key, for as long as the session lasts."""
        position = self._position(key)
        if position is None:
            return None
        claim = f"{position}.{int(self._clock()) + self._session_lifetime_s}"
        return f"{claim}.{self._signature(claim)}"

    def scopes_of_session(self, session: str | None) -> frozenset[Scope] | None:
        """What the holder of this session may do; None if it is over or not of our making."""
        claim, _, signature = (session or "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(claim).encode()):
            return None
        position, _, expires_s = claim.partition(".")
        return self._known[int(position)].scopes if self._clock() < int(expires_s) else None

    def _read(self, text: str) -> _Known:
        key, _, scopes = text.rpartition(":")
        names = frozenset(scopes.split(","))
        if not key or not names <= ALL_SCOPES:  # a colon may be part of the key
            key, names = text, ALL_SCOPES
        if len(key) < MIN_KEY_CHARS:
            raise BadKey(f"a key needs at least {MIN_KEY_CHARS} characters")
        if not _KEY_PATTERN.fullmatch(key):
            raise BadKey("a key holds ASCII characters without spaces")
        return _Known(self._digest(key), frozenset(scope for scope in SCOPES if scope in names))

    def _position(self, key: str | None) -> int | None:
        # All are compared, so that the time says nothing about which one was close.
        digest = self._digest(key or "")
        found = None
        for position, known in enumerate(self._known):
            if hmac.compare_digest(known.digest, digest):
                found = position
        return found

    def _digest(self, key: str) -> bytes:
        text = key.encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, b"key " + text, hashlib.sha256).digest()

    def _signature(self, claim: str) -> str:
        text = claim.encode("utf-8", "surrogateescape")
        return hmac.new(self._session_secret, text, hashlib.sha256).hexdigest()


def _common_secret(keys: Iterable[str]) -> bytes:
    """The same for the same keys in the same order; slow to make, so that nobody tries many."""
    text = "\n".join(keys).encode("utf-8", "surrogateescape")
    return hashlib.scrypt(text, salt=b"vision-events sessions", n=2**14, r=8, p=1)
