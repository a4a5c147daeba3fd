"""Each call of the system fails in its turn, memory runs out in each line: nothing is lost.

What is tried is a sample of the calls, the same one each time, or with VISION_EVENT_SOAK all of
them and all lines. Lines are for the soak alone while known_failures.txt is not empty: what they
hit depends on which thread comes first. Another sample has another VISION_EVENT_SEED. A failure
says how it is tried again alone:

    python -m tests.faults.trial deliver 'unlink@outbox/slot.py:Slot.remove#1=EIO/once'

What is not survived yet stands in known_failures.txt, and each of its lines must still be true.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from tests.faults.campaign import CALLS, LINES, REPLIES, Figures, Headquarters
from tests.faults.scenarios import SABOTAGE, SCENARIOS
from tests.faults.trial import Trial

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="functions have no full names there"),
]

IS_SOAK = float(os.environ.get("VISION_EVENT_SOAK", "1")) > 1
in_soak_only = pytest.mark.skipif(not IS_SOAK, reason="make soak tries memory in each line")
SEED = int(os.environ.get("VISION_EVENT_SEED", "1"))
#: Of each scenario.
SAMPLES = {CALLS: 40, REPLIES: 80}
#: A place that several threads come to may be missed at first.
TRIES = 5


@dataclass(frozen=True)
class KnownFailure:
    """A line of the file of that name: what is not survived yet."""

    place: str
    kinds: frozenset[str]
    example: Trial

    @classmethod
    def parse(cls, line):
        place_and_kinds, _, example = line.partition(" | ")
        place, _, kinds = place_and_kinds.rpartition(": ")
        return cls(place, frozenset(kinds.split(", ")), Trial(*shlex.split(example)))

    def covers(self, found):
        return found.place == self.place and found.kinds <= self.kinds


KNOWN = [
    KnownFailure.parse(line)
    for line in Path(__file__).with_name("known_failures.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def headquarters():
    with Headquarters() as headquarters:
        yield headquarters


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        *product(SCENARIOS, [CALLS]),
        ("deliver", REPLIES),
        *(pytest.param(scenario, LINES, marks=in_soak_only) for scenario in SCENARIOS),
    ],
)
def test_faults_are_survived(headquarters, scenario, kind):
    count = None if IS_SOAK else SAMPLES[kind]
    figures, failures = Figures(), []
    for found in headquarters.campaign(scenario, kind, count, SEED):
        figures.add(found)
        if found.kinds and not any(known.covers(found) for known in KNOWN):
            failures.append(str(found))

    print(f"{scenario}, {kind}, seed {SEED}: {figures}")  # noqa: T201 -- seen with -s
    assert not failures, "\n".join(failures)
    assert figures.injected > 0.3 * figures.tried


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_judge_notices(headquarters, name):
    _, kind = SABOTAGE[name]

    assert kind in headquarters.trial(Trial(name)).kinds


@in_soak_only
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.place}")
def test_what_is_known_to_fail_still_fails(headquarters, known):
    for _ in range(TRIES):
        found = headquarters.trial(known.example)
        if found.result.has_fired and found.kinds:
            break

    assert found.kinds, f"{known.example} is survived: remove its line from known_failures.txt"
