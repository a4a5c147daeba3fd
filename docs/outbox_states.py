"""The table of an outbox's states in operating.md, made by bringing about each of them.

python docs/outbox_states.py            # exits with 1 if the table is out of date
python docs/outbox_states.py --write

Each state is a real folder: real blocks in processes of their own, a stand-in API that fails, files
that are damaged, other users. The table records what `status`, `doctor`, the block and the page say
then, without what differs from run to run. Other users need root.
"""

# ruff: noqa: INP001, PLC0415, T201 -- a script that imports the host once it is set up

from __future__ import annotations

import difflib
import json
import os
import re
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outbox_stage import ENVIRONMENT, KEY, OTHER_KEY, OWNER, STRANGER, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = Path(__file__).with_name("operating.md")
BEGIN: Final = "<!-- states: made by docs/outbox_states.py -->\n"
END: Final = "<!-- end of states -->\n"
#: Not about the outbox, or about the machine that runs this.
LEFT_OUT: Final = ("setting", "plugin", "clock")


@dataclass(frozen=True)
class State:
    """One row: how the state comes about."""

    name: str
    make: Callable[[Stage], object]
    needs_root: bool = False


def _photos(stage: Stage) -> None:
    stage.folder.mkdir()
    (stage.folder / "holiday.jpg").write_bytes(b"")


def _a_file(stage: Stage) -> None:
    stage.folder.write_bytes(b"")


def _empty(stage: Stage) -> None:
    from vision_event_block.outbox.outbox import Outbox

    Outbox(stage.folder).close()


def _delivering(stage: Stage) -> Any:
    said = stage.run_block()
    stage.await_status("1 event delivered, the last one at")
    return said


def _waiting(stage: Stage) -> Any:
    stage.api.hang(300, times=1)
    said = stage.run_block()
    stage.await_status("All well: 1 event waiting")
    return said


def _link_down(stage: Stage) -> Any:
    stage.api.refuse()
    said = stage.run_block(waits=True)
    stage.await_status(": unreachable")
    return said


def _key_refused(stage: Stage) -> Any:
    stage.api.refuse_key(KEY)
    said = stage.run_block(waits=True)
    stage.await_status(": key refused")
    return said


def _ended(make: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
    def then_ended(stage: Stage) -> None:
        _, end = make(stage)
        end()
        stage.await_status("No process is sending")
        stage.waits = True

    return then_ended


def _another_key(stage: Stage) -> Any:
    stage.store(key=OTHER_KEY)
    said = stage.run_block()
    stage.await_status(": no process with this key")
    return said


def _know_no_use_case(api: Any) -> None:
    api.fail(404, route="create", body={"error": "use case 'dok' not found"})


def _unknown_use_case(stage: Stage) -> Any:
    _know_no_use_case(stage.api)
    said = stage.run_block(waits=True)
    stage.await_status("1 event rejected")
    return said


def _full(stage: Stage) -> None:
    for _ in range(2):
        stage.store(size=20_000)
    stage.environment["VISION_EVENT_OUTBOX_MAX_BYTES"] = "40000"


def _disk_full(stage: Stage) -> None:
    stage.store()
    stage.environment["VISION_EVENT_OUTBOX_MIN_FREE_BYTES"] = str(2**60)


def _corrupt(stage: Stage) -> None:
    path = stage.store()
    path.write_bytes(path.read_bytes()[:100])
    path.rename(stage.folder / "corrupt" / path.name)


def _adopted(stage: Stage) -> Any:
    _ended(_link_down)(stage)
    stage.api.accept()
    said = stage.run_block()
    stage.await_status("2 events delivered, the last one at")
    return said


def _in_memory(stage: Stage) -> None:
    stage.kill_with_an_event_in_memory()
    stage.await_status("of a process that was killed")


def _two_hosts(stage: Stage) -> Any:
    _delivering(stage)
    said = stage.run_block()
    stage.await_status("2 events delivered, the last one at")
    return said


def _give_to_owner(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNER)


def _of_another_user(stage: Stage) -> None:
    stage.store()
    _give_to_owner(stage.folder)
    stage.user = STRANGER


def _read_only(stage: Stage) -> None:
    stage.store()
    _give_to_owner(stage.folder)
    for path in (stage.folder, *stage.folder.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    stage.user = OWNER


def _relay(stage: Stage, break_it: Callable[[Any], object], words: str) -> None:
    """A server that forwards, and its page."""
    from vision_event_block import settings
    from vision_event_block.server.http_server import serving
    from vision_event_block.server.relay.opening import relaying
    from vision_event_block.server.storage import Store

    break_it(stage.api)
    os.environ.update(ENVIRONMENT)
    settings.current.cache_clear()
    store = stage.stack.enter_context(Store.open(stage.root / "server"))
    opening = relaying(stage.api.url, store, stage.folder, host="127.0.0.1", port=0)
    relay = stage.stack.enter_context(opening)
    url = stage.stack.enter_context(serving(store, forwarding=relay))
    event = {
        "eventType": "custom",
        "useCaseId": "dock",
        "eventData": {"value": "1"},
        "timestamp": datetime.now(timezone.utc).isoformat(),
    }
    request = urllib.request.Request(  # noqa: S310 -- a server of our own
        f"{url}/vision-events",
        json.dumps(event).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()  # noqa: S310 -- as above
    stage.await_status(words)
    with urllib.request.urlopen(f"{url}/forwarding") as page:  # noqa: S310 -- as above
        text = page.read().decode()
    facts = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", text, re.DOTALL)
    said = {name: unescape(re.sub(r"<.*?>", "", value)).strip() for name, value in facts}
    told = ("Delivered", "Waiting", "Refused", "Last try")
    parts = [f"{name}: {said[name].partition(', the oldest')[0]}" for name in told if name in said]
    stage.page = "; ".join(parts)


def _relayed(break_it: Callable[[Any], object], words: str) -> Callable[[Stage], None]:
    return lambda stage: _relay(stage, break_it, words)


STATES: Final = (
    State("absent: no event has been recorded yet, or the folder is mistyped", lambda _: None),
    State("not ours: a folder with something else in it", _photos),
    State("unstorable: a file is in its place", _a_file),
    State("empty", _empty),
    State("events are delivered", _delivering),
    State("events wait for an answer, a process is sending", _waiting),
    State("events wait, no process runs", Stage.store),
    State("events have waited for an hour, no process runs", lambda s: s.store(age_s=3600)),
    State("link down", _link_down),
    State("link down, the process has ended", _ended(_link_down)),
    State("key refused", _key_refused),
    State("key refused, the process has ended", _ended(_key_refused)),
    State("events of another key", _another_key),
    State("unknown use case", _unknown_use_case),
    State("the outbox is full", _full),
    State("the disk is full", _disk_full),
    State("damaged files", _corrupt),
    State("a process was killed, and another adopted its events", _adopted),
    State("a process was killed with an event in memory", _in_memory),
    State("two hosts share it", _two_hosts),
    State("another user's", _of_another_user, needs_root=True),
    State("read-only", _read_only, needs_root=True),
    State("a relay's, and the server has ended", lambda stage: stage.store(kind="relay")),
    State("a relay's, link down", _relayed(lambda api: api.refuse(), ": unreachable")),
    State("a relay's, key refused", _relayed(lambda api: api.refuse_key(KEY), ": key refused")),
    State("a relay's, unknown use case", _relayed(_know_no_use_case, "1 event rejected")),
)


def row(state: State, block: Callable[..., dict[str, Any]]) -> str:
    """The row of a state, which is brought about for it."""
    from vision_event_block.testing import StandInApi

    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vision-event-state-")))
        root.chmod(0o755)
        stage = Stage(root, stack.enter_context(StandInApi()), block, stack)
        made = state.make(stage)
        status_code, status = stage.status()
        doctor_code, found = stage.command("doctor", "--no-host", "--json")
        doctor = _doctor(json.loads(found), status)
        outputs = made[0] if isinstance(made, tuple) else None
        if outputs is None and not stage.page:
            outputs, _ = stage.run_block(waits=stage.waits)
        said = "" if outputs is None else f"`{outputs['delivery_status']}`: {outputs['message']}"
        cells = (
            state.name,
            status,
            f"{status_code}",
            doctor,
            f"{doctor_code}",
            said,
            stage.page,
        )
        return f"| {' | '.join(_lasting(cell, stage) for cell in cells)} |"


def _doctor(checks: list[dict[str, Any]], status: str) -> str:
    wrong = [
        check
        for check in checks
        if not check["is_fine"]
        and check["matter"] not in LEFT_OUT
        and "does not survive a restart" not in check["words"]
    ]
    said = [
        "as `status`"
        if check["words"] in status
        else f"{check['matter']}: {check['words']}. {check['advice']}"
        for check in wrong
    ]
    return "<br>".join(dict.fromkeys(said)) or "nothing wrong"


def _lasting(text: str, stage: Stage) -> str:
    """Without what differs from run to run."""
    for path, name in ((stage.folder, "OUTBOX"), (stage.root, "")):
        text = text.replace(str(path), name)
    text = text.replace(stage.api.url, "API").replace(stage.api.url.rpartition("/")[2], "API")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", "TIME", text)
    text = re.sub(r"\(key [0-9a-f]{12}\)", "(key DIGITS)", text)
    text = re.sub(r"the key [0-9a-f]{12}", "the key DIGITS", text)
    text = re.sub(r"[\d.]+ [kMGT]?B free", "SIZE free", text)
    text = text.replace("/vision-events/batch", "/vision-events")  # alone, or with another
    # Printed unless the API is quick.
    text = text.replace(", where it is lost if the process ends before the API takes it", "")
    return text.replace("|", "\\|").replace("\n", " ")


def _warm_up(block: Callable[..., dict[str, Any]]) -> None:
    """Loads whatever a first event needs, since other users may not."""
    from vision_event_block.delivery.shared_dispatch import shared_dispatch
    from vision_event_block.testing import StandInApi

    with StandInApi() as api, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"VISION_EVENT_API_URL": api.url, "VISION_EVENT_OUTBOX": f"{folder}/outbox"}
        block(KEY, waits=True, durability="disk")
        shared_dispatch().leave(block, 5.0)


def table(names: list[str]) -> str:
    """The rows of the states whose names begin so, or of all."""
    os.environ.update(ENVIRONMENT)
    import vision_event_block
    from vision_event_block.cli import doctor, status  # noqa: F401 -- other users may not load it

    block_class = vision_event_block.load_blocks()[0]

    def block(key: str, *, waits: bool, durability: str) -> dict[str, Any]:
        return block_class(api_key=key).run(
            event_type="custom",
            use_case="dok",
            cooldown_seconds=0,
            fire_and_forget=not waits,
            durability=durability,
        )

    _warm_up(block)
    rows = [
        "| the outbox | `status` | exit | `doctor` | exit | the block | the server's page |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for state in STATES:
        if not names or any(state.name.startswith(name) for name in names):
            if state.needs_root and os.geteuid() != 0:
                sys.exit("other users need root")
            rows.append(row(state, block))
    return "\n".join(rows) + "\n"


def main() -> None:
    """Writes the table, or compares."""
    arguments = sys.argv[1:]
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    before, _, tail = rest.partition(END)
    names = [name for name in arguments if not name.startswith("--")]
    made = table(names)
    if "--write" in arguments:
        PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{tail}", encoding="utf-8")
    elif names:
        known = before.splitlines()
        changed = [line for line in made.splitlines() if line not in known]
        print("\n".join(changed))
        sys.exit(bool(changed))
    elif before.strip() != made.strip():
        print("\n".join(difflib.unified_diff(before.split("\n"), made.split("\n"), lineterm="")))
        sys.exit(1)


if __name__ == "__main__":
    main()
