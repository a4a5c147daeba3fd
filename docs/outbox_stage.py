"""Where the states of an outbox are brought about: a folder, an API, processes, and users."""

# ruff: noqa: INP001, PLC0415 -- a script that imports the host once it is set up

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY: Final = "made_up_key"
OTHER_KEY: Final = "made_up_key_of_last_year"
OWNER, STRANGER = 31_415, 27_182
WAITS_S: Final = 60.0
ENVIRONMENT: Final = {
    "ROBOFLOW_API_KEY": KEY,
    "TELEMETRY_OPT_OUT": "True",
    "DISABLE_VERSION_CHECK": "True",
    "ACTIVE_LEARNING_ENABLED": "False",
    "CORE_MODELS_ENABLED": "False",
    "METRICS_ENABLED": "False",
    "WORKFLOWS_PLUGINS": "vision_event_block",
    "VISION_EVENT_OUTBOX_MIN_FREE_BYTES": "0",
    "VISION_EVENT_OUTBOX_MAX_BYTES": "2000000000",
    "VISION_EVENT_CONNECT_TIMEOUT_S": "5",
    "VISION_EVENT_WAIT_S": "60",
    "VISION_EVENT_CLOSE_TIMEOUT_S": "0.2",
    "VISION_EVENT_MAX_BACKOFF_S": "0.5",
    "TZ": "UTC",
}


@dataclass
class Stage:
    """Where a state is brought about."""

    root: Path
    api: Any
    block: Callable[..., dict[str, Any]]
    stack: ExitStack
    environment: dict[str, str] = field(default_factory=dict)
    #: The user that runs the commands and the block.
    user: int = 0
    page: str = ""
    #: Whether the block waits for the API; otherwise its output depends on timing.
    waits: bool = False

    @property
    def folder(self) -> Path:
        return self.root / "outbox"

    def store(
        self, *, key: str = KEY, kind: str = "api", age_s: float = 0.0, size: int = 10
    ) -> Path:
        """An event of a process that is gone."""
        from vision_event_block.events.bundle import bundle_of

        event = _event(size)
        bundle = bundle_of(event)
        outbox = self._outbox(age_s)
        metadata = self._metadata(kind, key)
        entry = outbox.store(event.event_id, bundle.payload, bundle.pictures, metadata)
        path: Path = outbox.slot_folder / entry.name
        outbox.close()
        return path

    def kill_with_an_event_in_memory(self) -> None:
        """An event that a process has in memory when it is killed, as with `durability: memory`."""
        from vision_event_block.events.frames import Frame

        kept = []

        def keep() -> None:
            outbox = self._outbox()
            frame = Frame.of(_event(), self._metadata("api", KEY).to_json())
            kept.append((outbox, outbox.keep_in_memory(frame)))

        _, end = self._fork(keep)
        end()

    def _outbox(self, age_s: float = 0.0) -> Any:
        from vision_event_block.outbox.outbox import Outbox
        from vision_event_block.outbox.quota import OutboxLimits

        limits = OutboxLimits(min_free_bytes=0)
        return Outbox(self.folder, limits, now=lambda: time.time() - age_s)

    def _metadata(self, kind: str, key: str) -> Any:
        from vision_event_block.delivery.secret import Secret
        from vision_event_block.outbox import clock
        from vision_event_block.outbox.entry import Address, DeliveryMetadata

        address = Address(kind, self.api.url, Secret(key).identity())
        return DeliveryMetadata(address, clock.reading())

    def run_block(
        self, *, key: str = KEY, waits: bool = False, durability: str = "disk"
    ) -> tuple[dict[str, Any], Callable[[], None]]:
        """Starts a process whose block runs once; gives what the block says, and how to end it."""

        def run() -> dict[str, Any]:
            os.environ["ROBOFLOW_API_KEY"] = key
            return self.block(key, waits=waits, durability=durability)

        return self._fork(run)

    def command(self, *arguments: str) -> tuple[int, str]:
        """A command's exit code and what it prints, as the stage's user."""
        from typer.testing import CliRunner

        from vision_event_block.cli.commands import app

        def run() -> tuple[int, str]:
            result = CliRunner().invoke(app, arguments)
            return result.exit_code, result.output

        (code, output), end = self._fork(run)
        end()
        return code, output

    def _fork(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Works in another process, as the stage's user; gives the result, and how to end it."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._become()
                os.write(writer, json.dumps(work()).encode() + b"\n")
                signal.pause()
            except BaseException:  # noqa: BLE001 -- a fork must not go on as its parent
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writer)

        def end() -> None:
            with suppress(ProcessLookupError, ChildProcessError):  # it has ended already
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

        self.stack.callback(end)
        with os.fdopen(reader) as said:
            return json.loads(said.readline()), end

    def status(self) -> tuple[int, str]:
        """The exit code of `status`, and its first line."""
        code, output = self.command("status")
        return code, output.partition("\n")[0]

    def await_status(self, words: str) -> None:
        """Waits until the first line contains these words."""
        ends_at_s = time.monotonic() + WAITS_S
        while words not in (said := self.status()[1]):
            if time.monotonic() > ends_at_s:
                raise TimeoutError(f"{words!r} did not appear: {said}")
            time.sleep(0.1)

    def _become(self) -> None:
        os.environ.update(ENVIRONMENT | self.environment)
        os.environ |= {"VISION_EVENT_API_URL": self.api.url, "COLUMNS": "2000"}
        os.environ["VISION_EVENT_OUTBOX"] = str(self.folder)
        time.tzset()
        from vision_event_block import settings

        settings.current.cache_clear()
        if self.user:
            os.setgid(self.user)
            os.setuid(self.user)


def _event(size: int = 10) -> Any:
    from vision_event_block.events.event import EventImage, VisionEvent
    from vision_event_block.events.images import Picture

    image = EventImage(label="workflow", input=Picture(content=b"\xff\xd8" + bytes(size)))
    now = datetime.now(timezone.utc)
    return VisionEvent(event_type="custom", use_case_id="dock", timestamp=now, images=(image,))
