"""Feeds a target with the corpus, and with what comes of it when it is changed by chance.

    python -m tests.fuzz.fuzzing archives              the corpus, file by file
    python -m tests.fuzz.fuzzing archives 60 --seed 7  and then for a minute what chance makes of it
    python -m tests.fuzz.fuzzing archives some/file    one input

What a target fails with is made small, written to a file, and named: it belongs into the corpus
once the cause is found. A process that dies has left its last input there.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import logging
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORPUS: Final = Path(__file__).with_name("corpus")
FOUND: Final = Path(tempfile.gettempdir()) / "fuzz-found"
#: What one input may cost. Time is the processor's, so that a busy machine changes nothing.
MAX_CPU_S: Final = 2.0
MAX_MEMORY_BYTES: Final = 400 * 2**20
_HANGS_AFTER_S: Final = 60.0
_WATCH_EVERY_S: Final = 5.0
_INPUTS_A_ROUND: Final = 200

#: What parsers stumble over.
TOKENS: Final = (
    *(b"", b"\x00", b"\xff", b"\n", b"\r\n", b"\r\n\r\n", b"%00", b"%2e%2e%2f", b"../", b"\\"),
    *(b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"9" * 30, b"null", b"true", b"[]", b"{}"),
    *(b'"', b"'", b"\\ud800", b"\\u0000", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"%", b"_"),
    *(b"9999-12-31", b"0001-01-01T00:00:00Z", b"1970-01-01", b"' OR 1=1 --", b"[true,1]"),
    *(b"\x00" * 512, b"A" * 300, b"[" * 2000, b'{"a":' * 500, b"9" * 5000),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x01"),
)


def corpus_of(target: str) -> list[Path]:
    """Its files, each of which was once trouble or is a good example."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def changed(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the samples after a few changes."""
    place, length = st.floats(0, 1, width=32), st.integers(1, 64)
    change = st.one_of(
        st.tuples(st.just("set"), place, st.integers(0, 255)),
        st.tuples(st.just("token"), place, st.sampled_from(TOKENS)),
        st.tuples(st.just("over"), place, st.sampled_from(TOKENS)),
        st.tuples(st.just("cut"), place, length),
        st.tuples(st.just("end"), place, st.none()),
        st.tuples(st.just("again"), place, length),
        st.tuples(st.just("splice"), place, st.sampled_from(samples)),
        st.tuples(st.just("bytes"), place, st.binary(min_size=1, max_size=16)),
    )
    return st.builds(_changed, st.sampled_from(samples), st.lists(change, min_size=1, max_size=5))


def _changed(content: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    for kind, place, what in changes:
        at = int(place * len(content))
        before, after = content[:at], content[at:]
        if kind == "set":
            content = before + bytes([what]) + after[1:]
        elif kind in ("token", "bytes"):
            content = before + what + after
        elif kind == "over":
            content = before + what + after[len(what) :]
        elif kind == "cut":
            content = before + after[what:]
        elif kind == "end":
            content = before
        elif kind == "again":
            content = before + after[:what] * 8 + after
        else:
            content = before + what[int(place * len(what)) :]
    return content


class Examiner:
    """Gives a target its inputs, one at a time, and looks what each of them costs."""

    def __init__(self, target: str, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._last = FOUND / f"{target}-last"
        self._smallest = FOUND / f"{target}-failed"
        self.count = 0
        self._watched_until_s = 0.0
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._most_bytes = _memory_bytes("VmRSS") + MAX_MEMORY_BYTES

    def examine(self, content: bytes) -> None:
        """Fails if the target does, or if it needs too much."""
        self.count += 1
        self._last.write_bytes(content)
        if time.monotonic() > self._watched_until_s:
            faulthandler.dump_traceback_later(_HANGS_AFTER_S, exit=True)
            self._watched_until_s = time.monotonic() + _WATCH_EVERY_S
        began_s = _cpu_s()
        try:
            self._take(content)
            cost_s, peak_bytes = _cpu_s() - began_s, _memory_bytes("VmHWM")
            assert cost_s < MAX_CPU_S, f"it costs {cost_s:.1f} s of a processor"
            assert peak_bytes < self._most_bytes, f"there are {peak_bytes / 2**20:.0f} MiB then"
        except BaseException:
            self._smallest.write_bytes(content)
            raise

    def end(self) -> None:
        """Nothing was found."""
        faulthandler.cancel_dump_traceback_later()
        self._last.unlink(missing_ok=True)

    def keep(self) -> str:
        """Where the smallest input that failed lies; its name says what it is."""
        content = self._smallest.read_bytes()
        path = FOUND / hashlib.sha256(content).hexdigest()[:12]
        path.write_bytes(content)
        return str(path)


def _cpu_s() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _memory_bytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def fuzz(examiner: Examiner, samples: Sequence[bytes], lasts_s: float, first_seed: int) -> None:
    """Tries what chance makes of the samples for so long."""
    ends_at_s = time.monotonic() + lasts_s
    number = first_seed
    while time.monotonic() < ends_at_s:

        @seed(number)
        @settings(
            database=None,
            deadline=None,
            max_examples=_INPUTS_A_ROUND,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(changed(samples))
        def one_round(content: bytes) -> None:
            if time.monotonic() < ends_at_s:
                examiner.examine(content)

        one_round()
        number += 1


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("what", nargs="?", default="0", help="seconds, or a file")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    FOUND.mkdir(exist_ok=True)
    is_file = Path(chosen.what).is_file()
    files = corpus_of(chosen.target)
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as home,
        TARGETS[chosen.target](Path(home)) as take,
    ):
        examiner = Examiner(chosen.target, take)
        try:
            for path in [Path(chosen.what)] if is_file else files:
                print(f"{path.name}", end=" ", flush=True)  # noqa: T201
                examiner.examine(path.read_bytes())
            print(flush=True)  # noqa: T201
            if not is_file:
                samples = [path.read_bytes() for path in files]
                fuzz(examiner, samples, float(chosen.what), chosen.seed)
        except BaseException:
            print(f"\nThe input lies in {examiner.keep()}", flush=True)  # noqa: T201
            raise
        examiner.end()
        print(f"{chosen.target}, seed {chosen.seed}: {examiner.count} inputs")  # noqa: T201
        sys.stdout.flush()


if __name__ == "__main__":
    main()
