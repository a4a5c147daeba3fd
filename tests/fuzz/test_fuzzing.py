"""Bytes of strangers are read or refused, soon and in little memory, whatever they are.

Each target gets its corpus, and for some seconds what chance makes of it, in a process of its own:
a C library that is led astray ends it. Longer with TEST_SOAK, other inputs with
TEST_SEED.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fuzz.fuzzing import corpus_of
from tests.fuzz.targets import TARGETS

pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc"),
]

SEED = os.environ.get("TEST_SEED", "1")
LASTS_S = 3.0
SOAK_S = 300.0


@pytest.mark.parametrize("target", TARGETS)
def test_anything_is_read_or_refused(target, soak):
    lasts_s = SOAK_S if soak > 1 else LASTS_S

    command = [sys.executable, "-m", "tests.fuzz.fuzzing", target, str(lasts_s), "--seed", SEED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    print(done.stdout)  # noqa: T201 -- seen with -s
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"


def test_every_target_has_a_corpus_of_small_files():
    for target in TARGETS:
        sizes = [path.stat().st_size for path in corpus_of(target)]
        assert len(sizes) > 5
        assert max(sizes) <= 128 * 1024
