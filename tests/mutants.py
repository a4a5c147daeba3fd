"""Whether the unit tests of a package notice when its code is wrong.

Changes the source in one place at a time (a comparison, a condition, a number, a return, a
statement), runs the package's unit tests on the change, and says which changes nobody noticed.
Each of these is either a test that is missing or a change that makes no difference.

It works in copies of the repository. The same seed makes the same choice as long as the source
stays the same.

    python tests/mutants.py --package outbox --count 40 --seed 7
    python tests/mutants.py --package outbox --at quota.py:137
"""

# ruff: noqa: T201 -- a script, whose output is its result

from __future__ import annotations

import argparse
import ast
import copy
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "node_modules")

#: What pytest ends with where the tests that come first are all there are.
NO_TESTS_LEFT = 5
#: A test that takes longer waits for something that the mutant has taken away.
MAX_TEST_S = 30

COMPARISONS = {
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
}  # fmt: skip
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult}
#: What these hold is read by people or by a type checker, and changes nothing when run.
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "bases", "msg"}
SKIPPED_CALLS = ("_logger.", "super().__init__", "typing.", "cast(")


@dataclass(frozen=True)
class Mutant:
    """A module with one thing changed."""

    path: Path
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        place = f"{self.path.relative_to(ROOT)}:{self.line}"
        return f"{place}  {_short(self.before)}  ->  {_short(self.after)}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of the source."""
    tree = ast.parse(path.read_text("utf-8"))
    for parent, field, index, node in _places(tree):
        for variant in _variants(node):
            ast.copy_location(variant, node)
            _put(parent, field, index, variant)
            source = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, field, index, node)
            yield Mutant(path, node.lineno, ast.unparse(node), ast.unparse(variant), source)


def _places(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(parent):
        if field in SKIPPED_FIELDS:
            continue
        nodes = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, node in nodes:
            if not isinstance(node, ast.AST) or _is_idle(node):
                continue
            yield parent, field, index, node
            yield from _places(node)


def _is_idle(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Call() as call):
            return ast.unparse(call.func).startswith(SKIPPED_CALLS)
    return False


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.expr():
            yield from _wrong_values(node)
        case ast.If() | ast.While() if not isinstance(node.test, ast.Compare):
            variant = copy.copy(node)
            variant.test = ast.UnaryOp(ast.Not(), node.test)
            yield variant
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Break() | ast.Continue() | ast.AugAssign():
            yield ast.Pass()
        case ast.Expr(ast.Call()) | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def _wrong_values(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, [operator], right):
            for other in COMPARISONS[type(operator)]:
                yield ast.Compare(left, [other()], right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.IfExp(test, body, otherwise):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, otherwise)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))


class Workbench:
    """A copy of the repository in which one mutant after another is tried."""

    def __init__(self, folder: Path, package: str) -> None:
        self._root = Path(shutil.copytree(ROOT, folder, ignore=NOT_COPIED, symlinks=True))
        self._tests = Path("tests/unit", package)
        self.limit_s = 600.0

    def is_noticed(self, mutant: Mutant) -> bool:
        """Whether a test fails, or never ends; those named like the module come first."""
        target = self._root / mutant.path.relative_to(ROOT)
        original = target.read_text("utf-8")
        near = sorted(self._root.glob(f"{self._tests}/test_{mutant.path.stem}*.py"))
        target.write_text(mutant.source, "utf-8")
        try:
            if near and not self.passes(*map(str, near)):
                return True
            return not self.passes(str(self._tests), *(f"--ignore={path}" for path in near))
        finally:
            target.write_text(original, "utf-8")

    def passes(self, *tests: str) -> bool:
        """Whether these tests do on the copy as it is."""
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", *tests]
        command += ["-o", f"timeout={MAX_TEST_S}"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._root),
            "PYTHONDONTWRITEBYTECODE": "1",  # two mutants within a second would share a cache
        }
        try:
            done = subprocess.run(
                command,
                cwd=self._root,
                env=environment,
                capture_output=True,
                timeout=self.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode in (0, NO_TESTS_LEFT)


def main() -> int:
    """Tries the mutants; ends with an error if a test fails on the code as it is."""
    options = _options()
    modules = sorted((ROOT / "vision_event_block" / options.package).rglob("*.py"))
    mutants = [mutant for module in modules for mutant in mutants_of(module)]
    if options.at:
        chosen = [one for one in mutants if f"{one.path.name}:{one.line}" in options.at]
    else:
        choice = random.Random(options.seed)
        chosen = choice.sample(mutants, min(options.count, len(mutants)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        benches: queue.Queue[Workbench] = queue.Queue()
        for number in range(options.jobs):
            benches.put(Workbench(Path(folder, str(number)), options.package))
        bench = benches.queue[0]
        begun_s = time.monotonic()
        if not bench.passes(f"tests/unit/{options.package}"):
            print("the tests fail without any change")
            return 1
        limit_s = 20 + 3 * (time.monotonic() - begun_s)

        def judge(mutant: Mutant) -> bool:
            bench = benches.get()
            bench.limit_s = limit_s
            is_noticed = bench.is_noticed(mutant)
            print("killed  " if is_noticed else "SURVIVED", mutant, flush=True)
            benches.put(bench)
            return is_noticed

        with ThreadPoolExecutor(options.jobs) as pool:
            killed = sum(pool.map(judge, chosen))
    print(f"{options.package}: {killed} of {len(chosen)} killed, of {len(mutants)} possible")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="such as outbox")
    parser.add_argument("--count", type=int, default=40, help="how many mutants are tried")
    parser.add_argument("--seed", type=int, default=7, help="which ones")
    parser.add_argument("--at", nargs="+", help="all those of a line instead, such as quota.py:137")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    return parser.parse_args()


def _short(code: str) -> str:
    words = " ".join(code.split())
    return words if len(words) <= 70 else words[:69] + "…"


if __name__ == "__main__":
    sys.exit(main())
