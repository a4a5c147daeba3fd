"""Each call of the system fails in its turn, memory runs out in each line: nothing is lost.

What is tried is a sample, the same one each time, or with TEST_SOAK all calls and all
lines. Another sample has another TEST_SEED. A failure says how it is tried again alone:

    python -m tests.faults.trial deliver 'unlink@outbox/slot.py:Slot.remove#1=EIO/once'
"""

from __future__ import annotations

import os
import sys
from itertools import product

import pytest

from tests.faults.campaign import CALLS, LINES, REPLIES, Figures, Headquarters
from tests.faults.scenarios import SABOTAGE, SCENARIOS
from tests.faults.trial import Trial

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="functions have no full names there"),
]

IS_SOAK = float(os.environ.get("TEST_SOAK", "1")) > 1
SEED = int(os.environ.get("TEST_SEED", "1"))
#: Of each scenario.
SAMPLES = {CALLS: 24, LINES: 10, REPLIES: 50}


@pytest.fixture(scope="module")
def headquarters():
    with Headquarters() as headquarters:
        yield headquarters


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [*product(SCENARIOS, [CALLS, LINES]), ("deliver", REPLIES)],
)
def test_faults_are_survived(headquarters, scenario, kind):
    count = None if IS_SOAK else SAMPLES[kind]
    figures, failures = Figures(), []
    for found in headquarters.campaign(scenario, kind, count, SEED):
        figures.add(found)
        if found.kinds:
            failures.append(str(found))

    print(f"{scenario}, {kind}, seed {SEED}: {figures}")  # noqa: T201 -- seen with -s
    assert not failures, "\n".join(failures)
    # Which lines are come to again depends on the threads.
    assert figures.injected > (0.1 if kind == LINES else 0.3) * figures.tried


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_judge_notices(headquarters, name):
    _, kind = SABOTAGE[name]

    assert kind in headquarters.trial(Trial(name)).kinds
