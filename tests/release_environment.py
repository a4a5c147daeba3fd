"""A fresh environment in which the release check installs the package and tries it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.request import ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
UV: Final = ROOT / ".venv/bootstrap/bin/uv"
#: The name of the distribution.
NAME: Final = "vision-event-block"
#: An API that is not there: nothing made up shall reach the real one.
NOWHERE: Final = "http://127.0.0.1:9"
_STARTS_WITHIN_S: Final = 60
_STARTED_S: Final = time.monotonic()
_open = build_opener(ProxyHandler({})).open


class Environment:
    """A fresh virtual environment, used from an empty home folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run([sys.executable, "-m", "venv", folder])
        self._home = folder / "home"
        self._home.mkdir()
        self._path = f"{folder}/bin:/usr/local/bin:/usr/bin:/bin"
        own = {"HOME": str(self._home), "PATH": self._path}
        self._variables = {**own, "PYTHONUNBUFFERED": "1"}

    def uv_is_pip(self) -> None:
        """From now on `pip` here is uv's: the same options, and minutes faster with the host."""
        pip = self.folder / "bin/pip"
        pip.write_text(f'#!/bin/sh\nVIRTUAL_ENV={self.folder} exec {UV} pip "$@"\n')

    def leave_the_host(self) -> None:
        """Takes away whatever the host alone would not have brought; `pip` is pip again."""
        python, constraints = self.folder / "bin/python", ROOT / "constraints.txt"
        wanted = self.folder / "host.txt"
        compile_ = [UV, "pip", "compile", "--quiet", "--python", python, "-c", constraints, "-"]
        wanted.write_text(run(compile_, input="inference"))
        run([UV, "pip", "sync", "--quiet", "--python", python, wanted])
        shutil.copy(self.folder / "bin/pip3", self.folder / "bin/pip")

    def install(self, line: str, folder: Path) -> None:
        """Runs a line of the documents there, with the settings of pip of whoever runs this."""
        say(f"$ {line}")
        variables = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        # Compiling all modules takes longer than to import the few that are used.
        variables |= {"PATH": self._path, "PIP_NO_COMPILE": "1"}
        run(["/bin/sh", "-ec", line], cwd=folder, env=variables)

    def uninstall(self) -> None:
        """Removes the package, and nothing that it brought along."""
        self.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", NAME)

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
        python = self.folder / "bin/python"
        done = subprocess.run(
            [python, "-m", "pip", "check"], capture_output=True, text=True, check=False
        )
        return set(done.stdout.splitlines()) if done.returncode else set()

    def run(self, *command: Any, **variables: str) -> str:
        """What a command prints; it must end well."""
        program = self.folder / "bin" / command[0]
        return run([program, *command[1:]], cwd=self._home, env={**self._variables, **variables})

    def check_command_line(self) -> None:
        """The command line is whole, with or without a host."""
        version = self.run("vision-events", "--version")
        if re.search(r"\d+\.\d+\.\d+", version) is None:
            fail(f"the version is {version!r}")
        stored = ("send", "--through-outbox", "--use-case", "dock")
        for command in (stored, ("status",), ("list",), ("config",)):
            self.run("vision-events", *command, ROBOFLOW_API_KEY="of-the-release-check")

    def check_doctor(
        self, *matters: str, exports: str = "", api: str = NOWHERE, **variables: str
    ) -> None:
        """Doctor, told what the documents tell the host, finds nothing wrong in these matters."""
        say(f"doctor: {', '.join(matters)}")
        options = "--json" if "plugin" in matters else "--json --no-host"
        variables = {**self._variables, "VISION_EVENT_API_URL": api, **variables}
        done = subprocess.run(
            ["/bin/sh", "-ec", f"{exports}\nexec vision-events doctor {options}"],
            cwd=self._home,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if "Traceback" in done.stderr or not done.stdout:
            fail(f"doctor says {done.stdout + done.stderr}")
        found = {one["matter"]: one for one in json.loads(done.stdout)}
        for matter in matters:
            if not found[matter]["is_fine"]:
                fail(f"doctor says {found[matter]}")

    def check_server(self, exports: str) -> None:
        """The page with its templates, styles and scripts, and an event that goes in and out."""
        say("serve")
        data = tempfile.mkdtemp(dir=self._home)
        command = ["vision-events", "serve", "--port", "0"]
        with self.serving(command, XDG_DATA_HOME=data) as url:
            page = _get(url + "/")
            linked = set(re.findall(r'(?:href|src)="(/[^"#?]+\.(?:css|js|svg|png))', page))
            if not linked:
                fail("the page names neither styles nor scripts")
            for path in sorted(linked):
                if not _get(url + path):
                    fail(f"{path} is empty")
            if '"openapi"' not in _get(url + "/openapi.json"):
                fail("the API has no description")
            use_case = _ask(f"{url}/vision-events/use-cases", {"name": "release"})["id"]
            event = {"eventId": "release-1", "eventType": "custom", "useCaseId": use_case}
            moment = datetime.now(timezone.utc).isoformat()
            _ask(f"{url}/vision-events", {**event, "timestamp": moment})
            if "release-1" not in _get(f"{url}/use-cases/{use_case}"):
                fail("the page does not show an event that went in")
            self.check_doctor("api", "key", exports=exports, api=url)

    @contextmanager
    def serving(self, command: list[str], **variables: str) -> Iterator[str]:
        """The address of a server for as long as the block lasts."""
        process = subprocess.Popen(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self._home,
            env={**self._variables, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            stdout = process.stdout or fail("no output")
            ends_at_s = time.monotonic() + _STARTS_WITHIN_S
            for line in stdout:
                found = re.search(r"http://\S+", line)
                if found or time.monotonic() > ends_at_s:
                    break
            yield found.group() if found else fail("the server does not say where it is")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        if process.returncode:
            fail(f"the server ended with {process.returncode}")


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


def run(command: list[Any], **options: Any) -> Any:
    """What a command prints; the check ends where it does not end well."""
    done = subprocess.run(command, capture_output=True, check=False, **{"text": True, **options})
    if done.returncode:
        said = done.stdout[-2000:], done.stderr[-4000:]
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}: {said}")
    return done.stdout


def say(words: str) -> None:
    """Prints how far the check is."""
    print(f"{time.monotonic() - _STARTED_S:5.0f} s  {words}", flush=True)  # noqa: T201 -- a script


def fail(words: str) -> NoReturn:
    """Ends the check."""
    sys.exit(f"NOT fit to be released: {words}")
