"""The official block and ours, in turn, on the same frames against the same API.

    python benchmarks/side_by_side.py [--rounds 3] [--events 200] [--json FILE] [--markdown FILE]
                                      [--check]

Both run in the real engine: 1080p frames, 20 boxes, input and output image. The API is a stand-in
in a process of its own. Times on a shared machine say little; the ratios of one run say more.
Where the machine was busy with something else there is no ratio.
With `--check` it exits with 1 if a ratio is worse than its guard: what was reached before, with
some margin for a noisy machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import bare
import scene
from contenders import Contender, drive, official, ours, running, set_up_host
from machine import QUIET_BELOW, Watch
from rich.console import Console
from rich.table import Table
from stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOXES = 20
DELAY_S = 0.05
SYNC_RUNS = 20
HANG_S = 40.0
PENDING = 60
LIMIT_ROUNDS = 40


@dataclass(frozen=True)
class Row:
    """One line of the table: the medians of both, and how they compare."""

    work: str
    unit: str
    official: float
    ours: float
    #: Ours by the official block's.
    ratio: float
    goal: float
    guard: float
    #: Whether the ratio must be at least the goal, instead of at most.
    more_is_better: bool
    #: Processors that were busy with something else at the time.
    others: float = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether the ratio is meaningful."""
        return self.others < QUIET_BELOW

    def reaches(self, ratio: float) -> bool:
        """Whether this ratio was reached, if one was measured."""
        if not self.is_quiet:
            return True
        return self.ratio >= ratio if self.more_is_better else self.ratio <= ratio

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            self.work,
            f"{self.official:.1f}",
            f"{self.ours:.1f}",
            self.unit,
            f"{self.ratio:.2f}x" if self.is_quiet else "busy",
            f"{'at least' if self.more_is_better else 'at most'} {self.goal:.2f}x"
            + ("" if self.reaches(self.goal) else " (missed)"),
        ]


@dataclass(frozen=True)
class Limit:
    """What the machine can do, and how much of it we reach."""

    work: str
    unit: str
    limit: float
    ours: float
    more: bool

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        share = self.ours / self.limit if self.more else self.limit / self.ours
        return [self.work, f"{self.limit:.1f}", f"{self.ours:.1f}", self.unit, f"{share:.0%}"]


class Bench:
    """The API, the frames and what was measured."""

    def __init__(self, api: StandIn, rounds: int, events: int) -> None:
        self.api = api
        self.rounds = rounds
        self.events = events
        self.pictures = scene.frame(), scene.drawn()
        self.predictions = scene.prediction(BOXES)
        self.rows: list[Row] = []
        #: Processors that were busy with something else during what was measured last.
        self._others = 0.0

    def in_turn(
        self, contenders: Sequence[Contender], measure: Callable[[Contender], tuple[float, ...]]
    ) -> list[tuple[float, ...]]:
        """The median of each figure for each contender, measured A B A B."""
        found: dict[str, list[tuple[float, ...]]] = {each.name: [] for each in contenders}
        watch = Watch(self.api.pid)
        for _ in range(self.rounds):
            for contender in contenders:
                found[contender.name].append(measure(contender))
        self._others = watch.others()
        return [
            tuple(statistics.median(figures) for figures in zip(*found[each.name], strict=True))
            for each in contenders
        ]

    def add(  # noqa: PLR0913 -- a row has these parts
        self,
        work: str,
        unit: str,
        theirs: float,
        own: float,
        *,
        goal: float,
        guard: float | None = None,
        more: bool,
    ) -> None:
        """Notes a comparison."""
        self.rows.append(
            Row(
                work,
                unit,
                theirs,
                own,
                own / theirs,
                goal,
                goal if guard is None else guard,
                more,
                self._others,
            )
        )

    def sync(self) -> None:
        """How long a workflow waits for the API's answer."""
        self.api.behave(delay_s=DELAY_S, connect_delay_s=DELAY_S)

        def measure(contender: Contender) -> tuple[float, ...]:
            with running(contender) as workflow:
                workflow.run(*self.pictures, self.predictions)
                took_ms = []
                for _ in range(SYNC_RUNS):
                    started_s = time.perf_counter()
                    workflow.run(*self.pictures, self.predictions)
                    took_ms.append((time.perf_counter() - started_s) * 1e3)
            return (statistics.median(took_ms),)

        pair = (official(8, fire_and_forget=False), ours("disk", fire_and_forget=False))
        (theirs,), (own,) = self.in_turn(pair, measure)
        self.add("synchronous, 50 + 50 ms", "ms", theirs, own, goal=0.38, guard=0.45, more=False)

    def background(
        self, name: str, delay_s: float, goals: dict[tuple[str, int], tuple[float, float]]
    ) -> None:
        """How many events a second arrive, and the processor time for each."""
        self.api.behave(delay_s=delay_s, connect_delay_s=delay_s)
        contenders = [official(8), ours("disk"), ours("memory")]
        if any(threads == 4 for _, threads in goals):
            contenders.append(official(4))

        def measure(contender: Contender) -> tuple[float, ...]:
            with running(contender) as workflow:
                workflow.run(*self.pictures, self.predictions)
                self.api.wait(1, 30)
                done = drive(workflow, self.api, self.pictures, self.predictions, self.events)
            return done.per_s, done.cpu_ms

        medians = self.in_turn(contenders, measure)
        figures = {each.name: found for each, found in zip(contenders, medians, strict=True)}
        for (durability, threads), (goal, guard) in goals.items():
            theirs, own = figures[f"official, {threads} threads"], figures[f"ours, {durability}"]
            work = f"background, {name}, {durability}, against {threads} threads"
            self.add(work, "events/s", theirs[0], own[0], goal=goal, guard=guard, more=True)
        for durability, goal in (("disk", 0.95), ("memory", 0.9)):
            theirs, own = figures["official, 8 threads"], figures[f"ours, {durability}"]
            work = f"processor time, {name}, {durability}"
            self.add(work, "ms/event", theirs[1], own[1], goal=goal, guard=1.3, more=False)

    def hanging(self) -> None:
        """How long a synchronous step holds the workflow while the API hangs."""
        self.api.behave()
        self._others = 0.0  # a timeout takes as long on a busy machine
        took_s = []
        for contender in (official(8, fire_and_forget=False), ours("disk", fire_and_forget=False)):
            with running(contender) as workflow:
                workflow.run(*self.pictures, self.predictions)
                self.api.hang(HANG_S)
                started_s = time.perf_counter()
                outputs = workflow.run(*self.pictures, self.predictions)
                took_s.append(time.perf_counter() - started_s)
                if contender.block.startswith("vision") and outputs["delivery_status"] != "stored":
                    sys.exit(f"not stored while the API hangs: {outputs}")
                self.api.heal()
        self.add("synchronous, the API hangs", "s", *took_s, goal=10.5 / 30.0, more=False)

    def memory(self) -> None:
        """What a pending event keeps in memory, each block in a process of its own."""
        self._others = 0.0  # this is no time
        kept = [
            float(subprocess.check_output([sys.executable, __file__, "--memory", which], text=True))
            for which in ("official", "ours")
        ]
        self.add("memory per pending event", "MB", *kept, goal=1 / 20, more=False)

    def limits(self, folder: Path) -> list[Limit]:
        """The most that this machine can do without a block, and how much of it we reach."""
        own = {row.work: row.ours for row in self.rows}
        with ThreadPoolExecutor(2) as pool:
            encode = partial(scene.encoded, self.pictures[0])
            started_s = time.perf_counter()
            for _ in range(LIMIT_ROUNDS):
                list(pool.map(encode, (95, 85)))
            encoding_ms = (time.perf_counter() - started_s) / LIMIT_ROUNDS * 1e3
        floor_ms = 2 * DELAY_S * 1e3 + encoding_ms
        reached_ms = own["synchronous, 50 + 50 ms"]
        found = [Limit("two round trips and the encoding", "ms", floor_ms, reached_ms, more=False)]
        with running(ours("disk", disable_sink=True)) as workflow:
            workflow.run(*self.pictures, self.predictions)
            step = partial(workflow.run, *self.pictures, self.predictions)
            for name, delay_s, threads in (("50 + 50 ms", DELAY_S, 16), ("no delay", 0.0, 4)):
                self.api.behave(delay_s=delay_s, connect_delay_s=delay_s)
                for durability in ("disk", "memory"):
                    found += self._bare(folder, name, threads, durability, step)
        return found

    def _bare(
        self, folder: Path, name: str, threads: int, durability: str, step: Callable[[], object]
    ) -> list[Limit]:
        """How fast a bare loop is, and the processor time that it takes."""
        own = {row.work: row.ours for row in self.rows}
        drives = [
            bare.drive(
                self.api,
                folder,
                events=self.events,
                threads=threads,
                durability=durability,
                step=step,
            )
            for _ in range(self.rounds)
        ]
        work, loop = f"{name}, {durability}", f"a bare loop on {threads} threads"
        per_s = statistics.median(each.per_s for each in drives)
        cpu_ms = statistics.median(each.cpu_ms for each in drives)
        reached_per_s = own[f"background, {work}, against 8 threads"]
        reached_ms = own[f"processor time, {work}"]
        return [
            Limit(f"{loop}, {work}", "events/s", per_s, reached_per_s, more=True),
            Limit(f"processor time of {loop}, {work}", "ms/event", cpu_ms, reached_ms, more=False),
        ]


def memory_of(which: str) -> float:
    """Megabytes per event that waits while the API hangs."""
    with StandIn() as api, tempfile.TemporaryDirectory() as folder:
        set_up_host(api.url, Path(folder) / "outbox", VISION_EVENT_CLOSE_TIMEOUT_S="0")
        logging.disable()
        image, drawn, predictions = scene.frame(), scene.drawn(), scene.prediction(BOXES)
        contender = official(8) if which == "official" else ours("disk")
        with running(contender) as workflow:
            for _ in range(10):
                workflow.run(image.copy(), drawn.copy(), predictions)
            api.wait(10, 60)
            api.hang(HANG_S)
            before = _resident_bytes()
            for _ in range(PENDING):
                workflow.run(image.copy(), drawn.copy(), predictions)
            kept = max(0, _resident_bytes() - before) / PENDING / 1e6
            print(f"{kept:.3f}", flush=True)
            os._exit(0)  # without waiting for the official block's requests


def _resident_bytes() -> int:
    fields = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":" in line
    )
    return int(fields["VmRSS"].split()[0]) * 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--memory", choices=("official", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory_of(options.memory)
        return
    with tempfile.TemporaryDirectory() as folder, StandIn() as api:
        set_up_host(api.url, Path(folder) / "outbox")
        logging.disable(logging.WARNING)
        bench = Bench(api, options.rounds, options.events)
        bench.sync()
        bench.background(
            "50 + 50 ms",
            DELAY_S,
            {
                ("disk", 8): (3.0, 2.2),
                ("memory", 8): (3.5, 2.4),
                ("disk", 4): (5.8, 4.4),
                ("memory", 4): (6.5, 4.8),
            },
        )
        bench.background("no delay", 0.0, {("disk", 8): (0.95, 0.65), ("memory", 8): (1.1, 0.7)})
        bench.memory()
        bench.hanging()
        limits = bench.limits(Path(folder))
    tables = {HEADINGS: bench.rows, LIMIT_HEADINGS: limits}
    for headings, rows in tables.items():
        _print(headings, rows)
    if options.json:
        document = {
            "rows": [asdict(row) for row in bench.rows],
            "limits": [asdict(limit) for limit in limits],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text("\n".join(_markdown(*table) for table in tables.items()))
    if options.check and not all(row.reaches(row.guard) for row in bench.rows):
        sys.exit(1)


HEADINGS = ("work", "official", "ours", "", "ratio", "goal")
LIMIT_HEADINGS = ("the machine's limit", "at most", "ours", "", "reached")


def _print(headings: Sequence[str], rows: Sequence[Row | Limit]) -> None:
    table = Table(*headings)
    for row in rows:
        table.add_row(*row.cells)
    Console().print(table)


def _markdown(headings: Sequence[str], rows: Sequence[Row | Limit]) -> str:
    lines = [headings, ["---"] * len(headings), *(row.cells for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
