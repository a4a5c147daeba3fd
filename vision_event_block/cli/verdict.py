"""The state of an outbox in words: whether all is well, or what is wrong, since when, what to do.

Pure: a snapshot in, findings out. The first of them is the first line of `status`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vision_event_block.cli import formatting
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.outbox.quota import SHED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vision_event_block.outbox.owner_status import DestinationStatus
    from vision_event_block.outbox.snapshot import File, OutboxSnapshot, SlotView

#: Events that wait longer need attention.
MAX_AGE_S: Final = 600.0
#: The way forward with a new key, or another address.
READDRESS: Final = "vision-events requeue --key-from-environment"
#: What can be done with rejected events.
WAYS_OUT: Final = (
    "vision-events requeue --all sends them again, with --use-case ID to another use case; "
    "export --dead DIR or drop --dead removes them"
)


@dataclass(frozen=True)
class Finding:
    """Something that an operator should know."""

    #: What is the case, and since when; a sentence without its full stop.
    words: str
    #: What to do; empty if there is nothing to do.
    advice: str = ""
    #: Whether a person or a monitor has to look: exit code 1.
    needs_help: bool = False

    def __str__(self) -> str:
        return f"{self.words}. {self.advice}." if self.advice else f"{self.words}."


@dataclass(frozen=True)
class StatusContext:
    """What a snapshot does not say."""

    now_s: float
    #: The disk space that events may take, and whether less is free than should be kept free.
    max_bytes: int
    is_disk_full: bool = False
    max_age_s: float = MAX_AGE_S
    #: How a moment is written.
    time_of: Callable[[float], str] = formatting.time_of
    #: Why an event is a dead letter.
    reason_of: Callable[[File], str] = lambda _: ""
    #: Whether only a relay can send an event.
    is_relayed: Callable[[File], bool] = lambda _: False


def told(found: OutboxSnapshot) -> list[tuple[SlotView, DestinationStatus]]:
    """What processes say about destinations; of ended processes only those that left events."""
    slots = (slot for slot in found.slots if slot.has_owner is not False or slot.pending)
    return [(slot, row) for slot in slots for row in slot.status.destinations]


def unstored(found: OutboxSnapshot) -> int:
    """Events that running processes have in memory only."""
    return sum(row.unstored for slot, row in told(found) if slot.has_owner is not False)


def verdict(found: OutboxSnapshot, around: StatusContext) -> list[Finding]:
    """What there is to say, the most urgent first; at least one sentence."""
    findings = [*_of_destinations(found, around), *_of_dead_letters(found, around)]
    if found.size_bytes > SHED_FROM * around.max_bytes or around.is_disk_full:
        what = "The disk" if around.is_disk_full else "The outbox"
        findings.append(
            Finding(
                f"{what} is full, and pictures are shed: {formatting.size(found.size_bytes)} of "
                f"{formatting.size(around.max_bytes)} in use",
                "Free disk space, export events, or raise VISION_EVENT_OUTBOX_MAX_BYTES",
                needs_help=True,
            )
        )
    findings += _of_waiting(found, around)
    findings.sort(key=lambda finding: not finding.needs_help)  # stable: urgent ones first
    return findings or [_all_well(found, around)]


def _of_destinations(found: OutboxSnapshot, around: StatusContext) -> Iterator[Finding]:
    pending = Counter[tuple[str, DestinationState]]()
    rows: dict[tuple[str, DestinationState], DestinationStatus] = {}
    for slot, row in told(found):
        if slot.has_owner is False:
            continue  # its last words are old; `_left_behind` repeats them
        pending[row.address, row.state] += row.pending
        rows.setdefault((row.address, row.state), row)
        if row.internal_error:
            yield Finding(
                f"A process has an internal error: {row.internal_error}",
                "The cause is in the process, not in the network; see its log",
                needs_help=True,
            )
        if row.unknown_reply:
            yield Finding(
                f"Events wait: {row.unknown_reply}",
                "Check the URL, a proxy, a firewall or a captive portal",
                needs_help=True,
            )
    for (address, state), row in rows.items():
        number = formatting.count(pending[address, state], "event")
        since = _since(row, found, around)
        why = f" ({row.last_error.rstrip('.')})" if row.last_error else ""
        if state is DestinationState.KEY_REFUSED:
            yield Finding(
                f"{address}: key refused{since}, {number} waiting{why}",
                "Fix the key or its scopes, then vision-events retry; with a new key, "
                f"restart the host and run {READDRESS}",
                needs_help=True,
            )
        elif state is DestinationState.NO_KEY:
            yield Finding(
                f"{address}: no process with this key{since}, {number} waiting",
                "Start the host with that key, or run ROBOFLOW_API_KEY=... vision-events drain; "
                f"if that key is gone, run {READDRESS}",
                needs_help=True,
            )
        elif state is DestinationState.DOWN and pending[address, state] and not row.unknown_reply:
            yield Finding(
                f"{address}: unreachable{since}, {number} waiting{why}",
                "They are retried, and nothing is lost; vision-events doctor checks the connection",
                needs_help=True,
            )


def _of_dead_letters(found: OutboxSnapshot, around: StatusContext) -> Iterator[Finding]:
    if found.dead:
        last = max(found.dead, key=lambda file: file.stored_at_s)
        reason = around.reason_of(last)
        yield Finding(
            f"{formatting.count(len(found.dead), 'event')} rejected, the last one stored "
            f"{around.time_of(last.stored_at_s)}{f': {reason}' if reason else ''}".rstrip("."),
            f"vision-events list --dead says why. {WAYS_OUT}",
            needs_help=True,
        )
    if found.corrupt:
        yield Finding(
            f"{formatting.count(len(found.corrupt), 'event')} damaged, in the folder corrupt/",
            "vision-events recheck requeues those that are intact; restore or drop the others",
            needs_help=True,
        )


def _of_waiting(found: OutboxSnapshot, around: StatusContext) -> Iterator[Finding]:
    left = [file for slot in found.slots if slot.has_owner is False for file in slot.pending]
    if left:
        yield _left_behind(found, left, around)
    if unknown := [file for slot in found.slots if slot.has_owner is None for file in slot.pending]:
        yield Finding(
            "Cannot tell whether a process is sending "
            f"{formatting.count(len(unknown), 'event')}, since the outbox is read-only for you",
            "Run this as the host's user",
        )
    owned = [file for slot in found.slots if slot.has_owner is not False for file in slot.pending]
    if _is_late(owned, around):
        yield Finding(
            f"{formatting.count(len(owned), 'event')} waiting, the oldest since "
            f"{around.time_of(min(file.stored_at_s for file in owned))}",
            "vision-events retry tries now; vision-events doctor says what is wrong",
            needs_help=True,
        )
    if found.spooled:
        yield Finding(
            f"{formatting.count(found.spooled, 'event')} of a process that was killed, still in "
            "memory",
            "The next host, or vision-events drain, stores and sends what is left",
        )


def _left_behind(found: OutboxSnapshot, left: list[File], around: StatusContext) -> Finding:
    """Events that no process sends; the last process's status says why they wait."""
    rows = [row for slot, row in told(found) if slot.has_owner is False and row.pending]
    reasons = dict.fromkeys(
        f"{row.address}: {row.last_error or row.internal_error or row.state.value}".rstrip(".")
        for row in rows
        if row.last_error or row.internal_error or row.state is not DestinationState.OPEN
    )
    oldest = min(left, key=lambda file: file.stored_at_s)
    words = (
        f"No process is sending {formatting.count(len(left), 'event')}, the oldest since "
        f"{around.time_of(oldest.stored_at_s)}"
    )
    if reasons:
        words += f". Why they waited when the last process ended: {'; '.join(reasons)}"
    needs_key = any(row.state.needs_key for row in rows)
    if around.is_relayed(oldest):
        advice = (
            "Only the server that received them can send them: vision-events serve --forward-to"
        )
    elif needs_key:
        advice = f"Fix the key, then start the host or run vision-events drain; or {READDRESS}"
    else:
        advice = "Start the host, or run vision-events drain"
    return Finding(words, advice, needs_help=needs_key or _is_late(left, around))


def _all_well(found: OutboxSnapshot, around: StatusContext) -> Finding:
    if not (found.stored or found.unstored or unstored(found)):
        return Finding("All well: no event has been recorded here yet")
    done = f"{formatting.count(found.delivered, 'event')} delivered"
    last_s = max((row.last_success_s or 0.0 for _, row in told(found)), default=0.0)
    if last_s:
        done += f", the last one at {around.time_of(last_s)}"
    if in_memory := unstored(found):
        done = f"{formatting.count(in_memory, 'event')} in memory only, {done}"
    if found.pending:
        return Finding(f"All well: {formatting.count(len(found.pending), 'event')} waiting, {done}")
    return Finding(f"All well: nothing waits, {done}")


def _since(row: DestinationStatus, found: OutboxSnapshot, around: StatusContext) -> str:
    since_s = row.since_s
    if since_s is None and found.pending:
        since_s = found.pending[0].stored_at_s
    return "" if since_s is None else f" since {around.time_of(since_s)}"


def _is_late(files: list[File], around: StatusContext) -> bool:
    ages_s = (file.age_s(around.now_s) for file in files)
    return any(age_s is not None and age_s > around.max_age_s for age_s in ages_s)
