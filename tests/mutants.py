"""Do the unit tests of a package notice when its code is wrong?

Runs a sample of the mutants that Cosmic Ray makes of the package, in a copy of the repository, and
prints each one that the package's unit tests let through. The same seed gives the same sample as
long as the source stays the same.

    python tests/mutants.py --package outbox --count 60 --seed 7
"""

# ruff: noqa: T201 -- a script, whose output is its result

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "node_modules")
#: Tests that take longer wait for something that the mutant has taken away.
TIMEOUT_S = 600.0


def main() -> int:
    """Gives 1 if a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="folder of vision_event_block")
    parser.add_argument("--count", type=int, default=60, help="mutants to try")
    parser.add_argument("--seed", type=int, default=7, help="choice of the sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as made:
        copy = Path(made) / "copy"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        config, session = copy / "cosmic-ray.toml", copy / "session.sqlite"
        config.write_text(_config(options.package), encoding="utf-8")
        _cosmic_ray(copy, "baseline", config.name)
        _cosmic_ray(copy, "init", config.name, session.name)
        with use_db(session, WorkDB.Mode.open) as work:
            _keep_sample(work, options.count, options.seed)
        _cosmic_ray(copy, "exec", config.name, session.name)
        with use_db(session, WorkDB.Mode.open) as work:
            return _report(work)


def _config(package: str) -> str:
    tests = f"{sys.executable} -m pytest -x -q -p no:cacheprovider tests/unit/{package}"
    return f"""[cosmic-ray]
module-path = {json.dumps(f"vision_event_block/{package}")}
timeout = {TIMEOUT_S}
excluded-modules = []
test-command = {json.dumps(tests)}

[cosmic-ray.distributor]
name = "local"
"""


def _cosmic_ray(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [Path(sys.executable).with_name("cosmic-ray"), *arguments], cwd=folder, check=True
    )


def _keep_sample(work: WorkDB, count: int, seed: int) -> None:
    """Skips all work but a sample; job ids differ from run to run, places in the source do not."""
    items = sorted(work.pending_work_items, key=lambda item: repr(item.mutations))
    sample = random.Random(seed).sample(items, min(count, len(items)))
    kept = {item.job_id for item in sample}
    skipped = [item.job_id for item in items if item.job_id not in kept]
    if skipped:
        work.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED))


def _report(work: WorkDB) -> int:
    tried = survived = 0
    for item in work.completed_work_items:
        job, result = item
        if result.worker_outcome is WorkerOutcome.SKIPPED:
            continue
        tried += 1
        if result.test_outcome is TestOutcome.SURVIVED:
            survived += 1
            place = job.mutations[0]
            print(f"survived: {place.module_path}:{place.start_pos[0]} {place.operator_name}")
            print(result.diff)
    print(f"{tried} mutants, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
