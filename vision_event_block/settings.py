"""Settings of the process, from environment variables `VISION_EVENT_*`."""

from __future__ import annotations

from functools import lru_cache

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is the variable `VISION_EVENT_` plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="VISION_EVENT_", extra="ignore", frozen=True)

    api_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        description="Address of a Vision Events API to use in place of the Roboflow platform, "
        "such as a local server. Requests go there directly, without the host's gateway and "
        "extra headers.",
    )
    connect_timeout_s: PositiveFloat = Field(
        default=5.0, description="Longest wait for a connection to the API."
    )
    read_timeout_s: PositiveFloat = Field(
        default=30.0, description="Longest wait for the answer to one request."
    )
    wait_s: PositiveFloat = Field(
        default=10.0,
        description="With Fire and Forget off: longest wait of the workflow for the API's verdict. "
        "After that the event goes on in the background.",
    )
    senders: int = Field(
        default=8, ge=1, le=64, description="Threads, each with its own connection, that send."
    )
    max_pending_events: PositiveInt = Field(
        default=1000, description="Events that may wait to be sent; one more is refused."
    )
    max_pending_bytes: PositiveInt = Field(
        default=256 * 1024 * 1024,
        description="Memory that the pictures of waiting events may take; more is refused.",
    )
    max_backoff_s: PositiveFloat = Field(
        default=60.0, description="Longest pause between two tries while the API is out of reach."
    )
    key_retry_s: PositiveFloat = Field(
        default=300.0, description="Pause between two tries after the API refused the key."
    )
    close_timeout_s: float = Field(
        default=5.0,
        ge=0,
        description="Longest wait for pending events when a pipeline or the process ends.",
    )


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once.

    Raises:
        ValueError: a variable holds what it cannot; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"VISION_EVENT_{'_'.join(map(str, found['loc'])).upper()}: {found['msg']}, "
            f"not {found['input']!r}"
            for found in error.errors()
        )
        raise ValueError("; ".join(wrong)) from None
