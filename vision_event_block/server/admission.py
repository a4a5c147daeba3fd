"""Who is let in, and to what: all keys and sessions of a server in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vision_event_block.server.keys import ALL_SCOPES

if TYPE_CHECKING:
    from vision_event_block.server.keys import Holder, Keys, Scope
    from vision_event_block.server.sessions import Sessions
    from vision_event_block.server.stored_keys import StoredKeys


class Admission:
    """The keys that the server was started with, those in its database, and sessions of both."""

    def __init__(
        self, keys: Keys, stored_keys: StoredKeys, sessions: Sessions, *, always: bool = False
    ) -> None:
        """With `always`, a key is needed even where there is none."""
        self._keys = keys
        self._stored_keys = stored_keys
        self._sessions = sessions
        self._always = always

    @property
    def in_force(self) -> bool:
        """Whether requests need a key. Without any key, nobody needs one."""
        return self._always or self._keys.in_force or self._stored_keys.in_force

    def scopes_of(self, key: str | None) -> frozenset[Scope] | None:
        """What the holder of this key may do; None if it is none of ours."""
        if not self.in_force:
            return ALL_SCOPES
        found = self._holder(key)
        return None if found is None else found.scopes

    def open_session(self, key: str) -> str | None:
        """What a browser keeps instead of the key; None if it is none of ours."""
        found = self._holder(key)
        return None if found is None else self._sessions.open(found.key_id)

    def scopes_of_session(self, session: str | None) -> frozenset[Scope] | None:
        """What the holder of this session may do; None if it is over, as it is with its key."""
        key_id = self._sessions.key_id_of(session)
        if key_id is None:
            return None
        scopes = self._keys.scopes_of_id(key_id, self._sessions.salt)
        return scopes if scopes is not None else self._stored_keys.scopes_of_id(key_id)

    def end_session(self, session: str | None) -> None:
        """Ends a session for good."""
        self._sessions.end(session)

    def _holder(self, key: str | None) -> Holder | None:
        salt = self._sessions.salt if self._keys.in_force else b""
        found = self._keys.holder(key, salt)
        return found if found is not None else self._stored_keys.holder(key)
