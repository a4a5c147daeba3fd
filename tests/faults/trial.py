"""One fault in one scenario, in a process of its own, and the verdict on it.

python -m tests.faults.trial deliver 'unlink@outbox/slot.py:Slot.remove#1=EIO/once'
python -m tests.faults.trial deliver            without a fault: what it does, place by place
python -m tests.faults.trial                    forks once for each line on its input
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import json
import logging
import os
import selectors
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.catalogue import CATALOGUE
from tests.faults.injection import LINE, ONCE, Fault, Injector
from tests.faults.judge import counts_that_are_off, inspect_logs, left_over
from tests.faults.scenarios import SABOTAGE, SCENARIOS, drop, export, stage_of
from tests.faults.stage import BOUND_S, HEALTHY_THREADS, Stage, descriptors, our_threads, quicken
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.testing import StandInApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: After so long a process hangs.
HANGS_AFTER_S: Final = 60.0
#: How many are tried at a time.
AT_ONCE: Final = 3
#: How many requests of a kind the API answers in an odd way.
MISBEHAVES: Final = 2
#: Of an upload nobody can tell that they are lies: its id is the API's to choose.
UNNOTICED: Final = frozenset({"stray answer before", "stray answer after", "somebody else's id"})
#: How long it may take to get through that.
REPLY_PATIENCE_S: Final = 3.0
#: A disk whose syncs cost nothing; what they are for is tried elsewhere.
MEMORY: Final = Path("/dev/shm")


@dataclass(frozen=True)
class Trial:
    """What is tried."""

    scenario: str
    fault: str = ""
    #: Instead of a fault: how the API misbehaves, from the stand-in's catalogue.
    reply: str = ""
    #: Whether it carries out what it answers so.
    is_stored: bool = False
    #: With neither: whether to count lines, or else calls.
    counts_lines: bool = False

    def __str__(self) -> str:
        """As it is tried again."""
        words = [self.scenario, f"'{self.fault}'" if self.fault else ""]
        words += [f"--reply {self.reply!r}" if self.reply else "", "--stored" * self.is_stored]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Result:
    """What came of it."""

    complaints: list[str] = field(default_factory=list)
    has_fired: bool = False
    #: Errors that those saw who called while the fault was there.
    raised: list[str] = field(default_factory=list)
    #: How often each place was come to: the call, the site, the number.
    hits: list[tuple[str, str, int]] = field(default_factory=list)
    #: What was imported meanwhile.
    modules: list[str] = field(default_factory=list)


def carry_out(trial: Trial) -> Result:
    """Breaks this process and says how it fared."""
    fault = Fault.parse(trial.fault) if trial.fault else None
    injector = Injector(fault, traces_lines=trial.counts_lines or (fault and fault.call == LINE))
    play = SCENARIOS.get(trial.scenario) or SABOTAGE[trial.scenario][0]
    home = Path(tempfile.mkdtemp(prefix="fault-", dir=MEMORY if MEMORY.is_dir() else None))
    known = set(sys.modules)
    complaints: list[str] = []
    try:
        before = descriptors()
        with StandInApi(keeps_pictures=False) as api:
            stage = stage_of(trial.scenario)(home, api, injector)
            os.environ.update(stage.environment())
            injector.install()
            if trial.reply:
                _misbehave(api, trial)
                stage.patience_s = REPLY_PATIENCE_S
            try:
                play(stage)
            except AssertionError as error:
                complaints.append(f"scenario: {error or 'a command fails without a fault'}")
            api.heal()
            complaints += _verdict(stage)
            stage.end()
        complaints += _what_stays_open(before)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    hits = [(call, site, number) for (call, site), number in sorted(injector.hits.items())]
    raised = [repr(error) for error in stage.raised]
    if fault:
        if is_full_to_the_end(trial.scenario, fault):
            complaints = [each for each in complaints if not each.startswith("counts: ")]
        return Result(complaints, injector.has_fired, raised)
    if trial.reply:
        misbehaved = any(request.misbehaved for request in api.requests)
        return Result(complaints, misbehaved or CATALOGUE[trial.reply].moment != "read", raised)
    return Result(complaints, injector.has_fired, raised, hits, sorted(set(sys.modules) - known))


def is_full_to_the_end(scenario: str, fault: Fault) -> bool:
    """Whether a command ends while the disk takes nothing, whatever it has removed.

    What it did holds, but there is nowhere to write down that it was counted.
    """
    is_a_command = scenario in (drop.__name__, export.__name__)
    return is_a_command and fault.error == "ENOSPC" and fault.mode != ONCE


def _misbehave(api: StandInApi, trial: Trial) -> None:
    """The next requests of each kind meet it."""
    how = CATALOGUE[trial.reply]
    routes: list[Any] = ["upload", "create", "batch"] if how.moment != "connected" else [None]
    if trial.reply in UNNOTICED:
        routes.remove("upload")
    for route in routes:
        api.misbehave(how, route=route, times=MISBEHAVES, after_storing=trial.is_stored)


def _verdict(stage: Stage) -> list[str]:
    """What is wrong although all is well again, in words that name no event."""
    if stage.dispatch is None:
        stage.open()
    complaints = _stuck(stage)
    stage.close()
    if leaked := stage.let_go():
        complaints.append(f"descriptors: {leaked} stay open in the outbox")
    stage.open()
    stage.record()
    if not stage.until(stage.is_through, BOUND_S):
        complaints.append(f"lost: {stage.how_much_is_left()}")
    if arrived := stage.logs.refused & stage.api.events.keys():
        complaints.append(f"untrue: {len(arrived)} failed and arrived")
    stage.close()
    if not stage.until(lambda: not our_threads(), BOUND_S):
        complaints.append(f"threads: {', '.join(our_threads())} are left")
    with stage.tried():
        last = Outbox(stage.folder, stage.limits)
        last.adopt()
        last.close()
    return complaints + _judged(stage)


def _stuck(stage: Stage) -> list[str]:
    """What the process that met the fault does no more."""
    complaints = []
    if not stage.until(lambda: stage.record() in stage.logs.stored, BOUND_S):
        complaints.append("stuck: nothing can be stored")
    if not stage.until(stage.is_through, BOUND_S):
        complaints.append(f"stuck: {stage.how_much_is_left()}")
    if not stage.until(lambda: len(our_threads()) >= HEALTHY_THREADS, BOUND_S):
        complaints.append(f"threads: {', '.join(our_threads())} are alive and no others")
    return complaints


def _judged(stage: Stage) -> list[str]:
    """The judge's words on what arrived, what is counted and what is left."""
    complaints = []
    missing = 0
    # Those that never came are known by now.
    here = replace(stage.logs, stored=set(), kept=stage.logs.kept & stage.api.events.keys())
    try:
        missing = inspect_logs(stage.api, here, may_shed=stage.may_shed).missing_pictures
    except AssertionError as error:
        complaints.append(f"mixed up: {error}")
    off = counts_that_are_off(
        stage.folder,
        RealDisk(),
        stored=stage.logs.stored,
        maybe_stored=stage.logs.hashes.keys(),
        told=stage.logs.refused,
        arrived=stage.api.events.keys(),
        resent=stage.resent,
        dead=len(stage.dead),
        dropped=stage.dropped | stage.exported,
        shed=missing,
    )
    complaints += [f"counts: {each}" for each in off]
    complaints += [f"left over: {name}" for name in left_over(stage.folder) + stage.left_over]
    return complaints


def _what_stays_open(before: dict[str, str]) -> list[str]:
    ends_at_s = time.monotonic() + BOUND_S
    while True:
        gc.collect()
        more = {number: path for number, path in descriptors().items() if number not in before}
        if not more:
            return []
        if time.monotonic() > ends_at_s:
            kinds = sorted({Path(path).name.split(":")[0].split("-")[-1] for path in more.values()})
            return [f"descriptors: {len(more)} stay open, {', '.join(kinds)}"]
        time.sleep(0.01)


@dataclass
class _Child:
    """A trial under way."""

    trial: Trial
    pid: int
    reader: int
    words: bytes = b""
    hangs: bool = False
    ends_at_s: float = field(default_factory=lambda: time.monotonic() + HANGS_AFTER_S)

    def has_ended(self) -> bool:
        """Reads what there is; one that hangs is ended."""
        with suppress(BlockingIOError):
            while block := os.read(self.reader, 2**16):
                self.words += block
            return True
        if time.monotonic() > self.ends_at_s:
            self.hangs = True
            os.kill(self.pid, 9)
            return True
        return False

    def result(self) -> Result:
        """Once it has ended."""
        os.close(self.reader)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.hangs:
            return Result([f"hangs: not through after {HANGS_AFTER_S:g} s"], has_fired=True)
        if not self.words:
            return Result([f"ends: with status {status}"], has_fired=True)
        return Result(**json.loads(self.words))


class Laboratory:
    """Tries faults, each in a fork of this process."""

    def warm_up(self) -> None:
        """Imports what scenarios import while they run, so that forks need not."""
        for scenario in ("store", "requeue", "export", "relay"):
            for name in self.run(Trial(scenario)).modules:
                with suppress(Exception):
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()  # forks need not look through it

    def run(self, trial: Trial, *, is_loud: bool = False) -> Result:
        """The result of one trial; a process that hangs or dies is one too."""
        [(_, result)] = self.run_all([trial], is_loud=is_loud)
        return result

    def run_all(
        self, trials: Iterable[Trial], *, is_loud: bool = False
    ) -> Iterator[tuple[Trial, Result]]:
        """The results as they come: most of a trial's time is waiting, so some run at once."""
        waiting, running = iter(trials), selectors.DefaultSelector()
        while True:
            for trial in itertools.islice(waiting, AT_ONCE - len(running.get_map())):
                child = self._start(trial, is_loud=is_loud)
                running.register(child.reader, selectors.EVENT_READ, child)
            if not running.get_map():
                running.close()
                return
            running.select(1.0)
            for key in list(running.get_map().values()):
                if key.data.has_ended():
                    running.unregister(key.fileobj)
                    yield key.data.trial, key.data.result()

    def _start(self, trial: Trial, *, is_loud: bool) -> _Child:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._report(trial, writer, is_loud=is_loud)
        os.close(writer)
        os.set_blocking(reader, False)
        return _Child(trial, pid, reader)

    def _report(self, trial: Trial, writer: int, *, is_loud: bool) -> None:
        try:
            if not is_loud:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
                os.close(null)
                logging.disable(logging.CRITICAL)
            try:
                result = carry_out(trial)
            except Exception as error:  # noqa: BLE001 -- whatever a broken process runs into
                if is_loud:
                    sys.excepthook(*sys.exc_info())
                result = Result([f"ends: {error!r}"], has_fired=True)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(json.dumps(asdict(result)).encode())
        finally:
            os._exit(4)  # nothing of the parent's may run here


def main() -> None:
    """See above."""
    quicken()
    laboratory = Laboratory()
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("fault", nargs="?", default="")
    parser.add_argument("--reply", choices=CATALOGUE, default="")
    parser.add_argument("--stored", dest="is_stored", action="store_true")
    parser.add_argument("--lines", dest="counts_lines", action="store_true")
    result = laboratory.run(Trial(**vars(parser.parse_args())), is_loud=True)
    for place in result.hits:
        print(*place)  # noqa: T201
    print(f"raised: {result.raised}")  # noqa: T201
    print(f"fired: {result.has_fired}, complaints: {result.complaints or 'none'}")  # noqa: T201
    sys.exit(bool(result.complaints))


if __name__ == "__main__":
    main()
