"""All faults of a scenario, or a sample of them.

python -m tests.faults.campaign deliver calls       every fault of one scenario, with figures
python -m tests.faults.campaign all lines 50        50 lines of each, in which memory runs out
python -m tests.faults.campaign                     answers requests on its input, for tests
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tests.catalogue import CATALOGUE
from tests.faults.injection import LINE, Fault, faults_at
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import quicken
from tests.faults.trial import Laboratory, Result, Trial
from vision_event_block.testing.misbehaviour import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from vision_event_block.testing import Misbehaviour

CALLS, LINES = KINDS = ("calls", "lines")
REPLIES: Final = "replies"
#: What is no lie but the API's verdict, and ends an event.
VERDICTS: Final = frozenset({"413 early"})
#: A place is hit at its first times only.
MOST_HITS: Final = {CALLS: 3, LINES: 1}
#: Threads do not share their work in the same way twice.
SIGHTINGS: Final = 3
#: How often what failed is tried again.
REPEATS: Final = 3


@dataclass(frozen=True)
class Found:
    """A trial and its result."""

    trial: Trial
    result: Result
    #: It failed the first time, and not again.
    was_once: bool = False

    def __str__(self) -> str:
        return f"{self.trial}: {'; '.join(self.result.complaints)}"

    def as_once(self) -> Found:
        """What is not held against anybody."""
        return replace(self, result=replace(self.result, complaints=[]), was_once=True)

    @property
    def place(self) -> str:
        """The call and the function, or the file of the line: what shares a cause, as a rule."""
        if self.trial.reply:
            return f"reply@{self.trial.reply}"
        fault = Fault.parse(self.trial.fault)
        site = fault.site.partition(":")[0] if fault.call == LINE else fault.site
        return f"{fault.call}@{site}"

    @property
    def kinds(self) -> frozenset[str]:
        """What is wrong, in a word each."""
        return frozenset(complaint.partition(":")[0] for complaint in self.result.complaints)


@dataclass
class Figures:
    """What came of a campaign."""

    tried: int = 0
    #: The place was come to again, and the fault happened.
    injected: int = 0
    survived: int = 0
    #: Of these, how many failed the first time.
    once: int = 0

    def add(self, found: Found) -> None:
        """One more."""
        self.tried += 1
        self.injected += found.result.has_fired
        self.once += found.was_once
        self.survived += found.result.has_fired and not found.kinds

    def __str__(self) -> str:
        once = f" ({self.once} at another try)" if self.once else ""
        return f"{self.injected} faults of {self.tried} tried, {self.survived} survived{once}"


def faults_of(laboratory: Laboratory, scenario: str, kind: str) -> list[Trial]:
    """Every fault that may hit the scenario, in the same order each time."""
    if kind == REPLIES:
        return [
            Trial(scenario, reply=name, is_stored=is_stored)
            for name, how in CATALOGUE.items()
            if name not in VERDICTS
            for is_stored in (False, True)
            if (how.moment == "read" if is_stored else not _convinces(how))
        ]
    hits: Counter[tuple[str, str]] = Counter()
    for _ in range(SIGHTINGS):
        seen = laboratory.run(Trial(scenario, counts_lines=kind == LINES))
        assert not seen.complaints, f"{scenario} fails without a fault: {seen.complaints}"
        for call, site, number in seen.hits:
            hits[call, site] = max(hits[call, site], number)
    return [
        Trial(scenario, str(fault))
        for (call, site), number in sorted(hits.items())
        if (call == LINE) is (kind == LINES)
        for fault in faults_at(call, site, number, most=MOST_HITS[kind])
    ]


def _convinces(how: Misbehaviour) -> bool:
    """Whether the right answer gets through all the same: then nobody can tell that it is a lie."""
    good = answer(201, b'{"eventId": "e", "created": true}')
    sent = (step for step in itertools.islice(how.script(good), 1000) if isinstance(step, bytes))
    return how.moment == "read" and b'{"eventId": "e", "created": true}' in b"".join(sent)


def sampled(trials: list[Trial], count: int, seed: int) -> list[Trial]:
    """So many of them, at as many places as there are.

    Each has its turn by a number of its own, so one more or less, as threads will have it, leaves
    the sample as it is but for that one.
    """
    turns: list[tuple[int, float, Trial]] = []
    by_place: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        fault = Fault.parse(trial.fault) if trial.fault else None
        by_place[(fault.call, fault.site) if fault else ("", str(trial))].append(trial)
    for place, there in by_place.items():
        there.sort(key=lambda trial: random.Random(f"{seed} {trial}").random())
        turn = random.Random(f"{seed} {place}").random()
        turns += [(number, turn, trial) for number, trial in enumerate(there)]
    turns.sort(key=lambda it: it[:2])
    return [trial for _, _, trial in turns[:count]]


def campaign(
    laboratory: Laboratory, scenario: str, kind: str, count: int | None, seed: int
) -> Iterator[Found]:
    """What came of so many faults of a scenario, or of all."""
    trials = faults_of(laboratory, scenario, kind)
    if count is not None:
        trials = sampled(trials, count, seed)
    for trial, result in laboratory.run_all(trials):
        found = Found(trial, result)
        yield found if not found.kinds or _is_seen_again(laboratory, found) else found.as_once()


def _is_seen_again(laboratory: Laboratory, found: Found) -> bool:
    """Whether it fails another time: on a busy machine a deadline can pass."""
    return any(
        found.kinds & Found(trial, result).kinds
        for trial, result in laboratory.run_all([found.trial] * REPEATS)
    )


class Headquarters:
    """A process of its own that carries out campaigns; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def campaign(self, scenario: str, kind: str, count: int | None, seed: int) -> Iterator[Found]:
        """See above."""
        yield from self._ask(scenario=scenario, kind=kind, count=count, seed=seed)

    def trial(self, trial: Trial) -> Found:
        """One of them."""
        [found] = self._ask(**asdict(trial))
        return found

    def _ask(self, **request: Any) -> Iterator[Found]:
        self._process.stdin.write(json.dumps(request) + "\n")
        while True:
            line = self._process.stdout.readline()
            assert line, "the campaign has broken off"
            if not (found := json.loads(line)):
                return
            trial, result = Trial(**found["trial"]), Result(**found["result"])
            yield Found(trial, result, was_once=found["was_once"])


def _answer_requests(laboratory: Laboratory) -> None:
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "fault" in request:
            trial = Trial(**request)
            answers = iter([Found(trial, laboratory.run(trial))])
        else:
            answers = campaign(laboratory, **request)
        for found in answers:
            print(json.dumps(asdict(found)), flush=True)  # noqa: T201
        print("{}", flush=True)  # noqa: T201


def main() -> None:
    """See above."""
    quicken()
    laboratory = Laboratory()
    laboratory.warm_up()
    if len(sys.argv) == 1:
        _answer_requests(laboratory)
        return
    names, kind, *count = sys.argv[1:]
    failures: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for name in list(SCENARIOS) if names == "all" else names.split(","):
        figures = Figures()
        for found in campaign(laboratory, name, kind, int(count[0]) if count else None, seed=1):
            figures.add(found)
            if found.result.complaints:
                failures[found.place, ", ".join(sorted(found.kinds))].append(found)
                print(found, found.result.raised[:2], flush=True)  # noqa: T201
            elif found.was_once:
                print(f"once only: {found.trial}", flush=True)  # noqa: T201
        print(f"{name} {kind}: {figures}", flush=True)  # noqa: T201
    for (place, kinds), found_there in sorted(failures.items()):
        print(f"{len(found_there):4} {place}: {kinds} | {found_there[0].trial}")  # noqa: T201


if __name__ == "__main__":
    main()
