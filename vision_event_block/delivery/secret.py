"""API keys: how they are kept from being shown, and how they get into a request."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from requests.auth import AuthBase

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests


#: For keys of events that are in no outbox.
PROCESS_SALT: Final = secrets.token_bytes(16)
#: What distinguishes keys: a salt and a digest, or the twelve digits that version 0.1.0 wrote.
_IDENTITY: Final = re.compile(r"([0-9a-f]{32}):[0-9a-f]{64}")


class Secret:
    """A text that does not show itself: an API key, or a header made of one."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        # Keys come from files and variables, where a line end is easily left at their end.
        self._value = value.strip()
        if not self._value:
            raise ValueError("the API key is empty")
        if not (self._value.isascii() and self._value.isprintable()):
            raise ValueError("the API key holds characters that no HTTP header can carry")

    def reveal(self) -> str:
        return self._value

    def identity(self, salt: bytes = PROCESS_SALT) -> str:
        """What distinguishes keys and may be written down; the 16-byte salt is part of it."""
        digest = hmac.digest(salt, self._value.encode(), "sha256")
        return f"{salt.hex()}:{digest.hex()}"

    def is_meant_by(self, identity: str) -> bool:
        """Whether an identity was made from this key, whatever the salt."""
        found = _IDENTITY.fullmatch(identity)
        if found is not None:
            return hmac.compare_digest(identity, self.identity(bytes.fromhex(found[1])))
        return identity == hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def hide_in(self, text: str) -> str:
        """The text with every occurrence of the secret masked, also where it is URL-quoted."""
        return text.replace(self._value, "***").replace(quote(self._value, safe=""), "***")

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


class Credentials(AuthBase):
    """Sets the headers that prove who asks, or none, after everything else is done.

    As a plain header, `Authorization` would lose against a password for the host in ~/.netrc;
    and without any credentials, that password would be sent.
    """

    def __init__(self, headers: Mapping[str, Secret]) -> None:
        self._headers = dict(headers)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the headers in it."""
        request.headers.update(self.revealed())
        return request

    def revealed(self) -> dict[str, str]:
        """The headers as they are sent; none of them is among the request's other headers."""
        return {name: secret.reveal() for name, secret in self._headers.items()}

    def hide_in(self, text: str) -> str:
        """The text without the headers' values and without the tokens in them."""
        for secret in self._headers.values():
            token = secret.reveal().rpartition(" ")[2]
            text = Secret(token).hide_in(secret.hide_in(text))
        return text
