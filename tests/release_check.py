"""The package as its users get it: built, installed into fresh environments, and tried.

    python tests/release_check.py [--keep]

Builds the wheel and the sdist from what git tracks, then installs the wheel beside the host and,
in another environment, with the server alone. The host's own packages must be the same before and
after, and everything the package ships must be there. Nothing here imports the checkout.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.request import ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "vision_event_block"
WORKFLOWS: Final = "demo/workflows"
UV: Final = ROOT / ".venv/bootstrap/bin/uv"
_STARTS_WITHIN_S: Final = 60
_open = build_opener(ProxyHandler({})).open


def main() -> None:
    """Checks one thing after the other; ends with 1 and a sentence at the first that is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the environments, and say where")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.keep:
            folder = Path(tempfile.mkdtemp(prefix="release-check-"))
            _say(f"kept: {folder}")
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="release-check-")))
        wheel = _built(folder)
        _beside_the_host(folder, wheel)
        _server_alone(folder, wheel)
    _say("The package is fit to be released.")


def _built(folder: Path) -> Path:
    """The wheel, after a look into it and into the sdist."""
    _say("building")
    source = folder / "source"
    source.mkdir()
    archive = _run(["git", "archive", "HEAD"], cwd=ROOT, text=False)
    _run(["tar", "-x", "-C", source], input=archive, text=False)
    _run([UV, "build", "--quiet", "--out-dir", folder / "dist", source])
    [wheel] = (folder / "dist").glob("*.whl")
    [sdist] = (folder / "dist").glob("*.tar.gz")
    tracked = _run(["git", "ls-files"], cwd=ROOT).splitlines()

    with zipfile.ZipFile(wheel) as archive_of_wheel:
        names = {name for name in archive_of_wheel.namelist() if not name.endswith("/")}
    expected = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    expected |= {
        name.replace("sample_workflows", f"{PACKAGE}/{WORKFLOWS}", 1)
        for name in tracked
        if name.startswith("sample_workflows/")
    }
    inside = {name for name in names if ".dist-info/" not in name}
    _same("the wheel", inside, expected)
    metadata = {name.rpartition("/")[2] for name in names - inside}
    if not {"METADATA", "RECORD", "entry_points.txt", "LICENSE"} <= metadata:
        _fail(f"the wheel's metadata are {sorted(metadata)}")

    with tarfile.open(sdist) as archive_of_sdist:
        files = [member for member in archive_of_sdist.getmembers() if member.isfile()]
        kept = {member.name.partition("/")[2] for member in files}
    missing = {name for name in tracked if not name.startswith(".ci")} - kept
    if missing:
        _fail(f"the sdist lacks {sorted(missing)[:5]}")
    _say(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def _beside_the_host(folder: Path, wheel: Path) -> None:
    _say("the host from the registry")
    environment = _Environment(folder / "with-host")
    environment.install("inference")
    before, troubles_before = environment.state(), environment.conflicts()
    _say("the wheel beside it")
    environment.install(f"{wheel}[server]")
    after = environment.state()
    changed = {name for name, state in before.items() if after.get(name) != state}
    changed |= environment.conflicts() - troubles_before
    if changed:
        _fail(f"installing the wheel changed {sorted(changed)}")
    environment.check_tools(expects_host=True)
    environment.check_server()
    _say("demo")
    environment.run("vision-events", "demo", "--exit")
    _say("manifests")
    environment.run("vision-events", "manifests", "--folder", ROOT / "manifests")


def _server_alone(folder: Path, wheel: Path) -> None:
    _say("the server without a host")
    environment = _Environment(folder / "alone")
    environment.install(f"{wheel}[server]")
    for module in ("inference", "cv2", "torch"):
        if module in environment.state():
            _fail(f"the server alone brings {module}")
    if environment.conflicts():
        _fail(f"pip check: {environment.conflicts()}")
    environment.check_tools(expects_host=False)
    environment.check_server()


class _Environment:
    """A fresh virtual environment, used from an empty home folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _run([sys.executable, "-m", "venv", folder])
        self._home = folder / "home"
        self._home.mkdir()
        own = {"HOME": str(self._home), "PATH": f"{folder}/bin:/usr/bin:/bin"}
        self._variables = {**own, "PYTHONUNBUFFERED": "1"}

    def install(self, what: str) -> None:
        """Installs with the versions that the tests ran with."""
        python = self._folder / "bin/python"
        constraints = ROOT / "constraints.txt"
        _run([UV, "pip", "install", "--quiet", "--python", python, "-c", constraints, what])

    def state(self) -> dict[str, str]:
        """A fingerprint of each distribution and of each file of OpenCV."""
        program = (
            "import importlib.metadata as m, importlib.util as u, json, pathlib, hashlib\n"
            "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
            "for name in ('inference', 'torch', 'cv2'):\n"
            "    spec = u.find_spec(name)\n"
            "    if spec: found[name] = spec.origin\n"
            "spec = u.find_spec('cv2')\n"
            "for path in pathlib.Path(spec.origin).parent.rglob('*') if spec else ():\n"
            "    if path.is_file() and path.suffix != '.pyc':\n"
            "        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()\n"
            "print(json.dumps(found))"
        )
        state: dict[str, str] = json.loads(self.run("python", "-c", program))
        return state

    def conflicts(self) -> set[str]:
        """What `pip check` complains about; the host may bring complaints of its own."""
        python = self._folder / "bin/python"
        done = subprocess.run(
            [python, "-m", "pip", "check"], capture_output=True, text=True, check=False
        )
        return set(done.stdout.splitlines()) if done.returncode else set()

    def run(self, *command: Any) -> str:
        """What a command prints; it must end well."""
        program = self._folder / "bin" / command[0]
        return _run([program, *command[1:]], cwd=self._home, env=self._variables)

    def check_tools(self, *, expects_host: bool) -> None:
        """The command line is whole, and the block loads where there is a host."""
        _say("command line")
        version = self.run("vision-events", "--version")
        if re.search(r"\d+\.\d+\.\d+", version) is None:
            _fail(f"the version is {version!r}")
        for command in ("status", "list"):
            self.run("vision-events", command)
        found = subprocess.run(
            [self._folder / "bin/vision-events", "doctor"],
            cwd=self._home,
            env={**self._variables, "WORKFLOWS_PLUGINS": PACKAGE},
            capture_output=True,
            text=True,
            check=False,
        )
        if "Traceback" in found.stdout + found.stderr:
            _fail(found.stdout + found.stderr)
        # Without a key or a host there is something to mend, and doctor says so.
        if not found.stdout.strip():
            _fail("doctor says nothing")
        if expects_host:
            self.run("python", "-c", f"import {PACKAGE}; assert {PACKAGE}.load_blocks()")

    def check_server(self) -> None:
        """The page with its templates, styles and scripts, and an event that goes in and out."""
        _say("serve")
        with self._serving() as url:
            page = _get(url + "/")
            linked = set(re.findall(r'(?:href|src)="(/[^"#?]+\.(?:css|js|svg|png))', page))
            if not linked:
                _fail("the page names neither styles nor scripts")
            for path in sorted(linked):
                if not _get(url + path):
                    _fail(f"{path} is empty")
            if '"openapi"' not in _get(url + "/openapi.json"):
                _fail("the API has no description")
            use_case = _ask(f"{url}/vision-events/use-cases", {"name": "release"})["id"]
            event = {"eventId": "release-1", "eventType": "custom", "useCaseId": use_case}
            moment = datetime.now(timezone.utc).isoformat()
            _ask(f"{url}/vision-events", {**event, "timestamp": moment})
            if "release-1" not in _get(f"{url}/use-cases/{use_case}"):
                _fail("the page does not show an event that went in")

    @contextmanager
    def _serving(self) -> Iterator[str]:
        process = subprocess.Popen(
            [self._folder / "bin/vision-events", "serve", "--port", "0"],
            cwd=self._home,
            env=self._variables,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            stdout = process.stdout or _fail("no output")
            ends_at_s = time.monotonic() + _STARTS_WITHIN_S
            for line in stdout:
                found = re.search(r"http://\S+", line)
                if found or time.monotonic() > ends_at_s:
                    break
            yield found.group() if found else _fail("the server does not say where it is")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        if process.returncode:
            _fail(f"the server ended with {process.returncode}")


def _get(url: str) -> str:
    with _open(url, timeout=20) as answer:
        text: str = answer.read().decode("utf-8", "replace")
    return text


def _ask(url: str, document: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": "Bearer made-up", "Content-Type": "application/json"}
    request = Request(url, json.dumps(document).encode(), headers)
    with _open(request, timeout=20) as answer:
        reply: dict[str, Any] = json.load(answer)
    return reply


def _same(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        lacks, more = sorted(expected - found)[:5], sorted(found - expected)[:5]
        _fail(f"{what} lacks {lacks} and has {more} that it should not have")


def _run(command: list[Any], **options: Any) -> Any:
    done = subprocess.run(command, capture_output=True, check=False, **{"text": True, **options})
    if done.returncode:
        said = done.stdout[-2000:], done.stderr[-4000:]
        _fail(f"{' '.join(map(str, command))} ended with {done.returncode}: {said}")
    return done.stdout


def _say(words: str) -> None:
    print(f"{time.monotonic() - _STARTED_S:5.0f} s  {words}", flush=True)  # noqa: T201 -- a script


def _fail(words: str) -> NoReturn:
    sys.exit(f"NOT fit to be released: {words}")


_STARTED_S: Final = time.monotonic()

if __name__ == "__main__":
    main()
