"""The package as its users get it: built and installed as the documents say, and tried.

    python tests/release_check.py [--keep]

Takes what git tracks as the checkout of a reader, and runs each line of README's install part and
the Dockerfile's steps in fresh environments. The host's own packages must be the same before and
after, and everything the package ships must be there. Nothing here imports the checkout.

The lines run as they stand, with two exceptions: what the Dockerfile has at the root of its image
goes to a folder, and the line that brings the host finds uv's `pip` instead of pip's own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from install_lines import ImageRecipe, InstallLines, dockerfile_steps
from release_environment import NAME, ROOT, UV, Environment, fail, run, say

PACKAGE: Final = "vision_event_block"
WORKFLOWS: Final = "demo/workflows"


@dataclass(frozen=True)
class _Release:
    """What is checked."""

    #: Where everything is made.
    folder: Path
    #: What git tracks.
    checkout: Path
    lines: InstallLines
    recipe: ImageRecipe

    def environment(self, name: str) -> Environment:
        """A fresh environment."""
        say(name)
        return Environment(self.folder / name.replace(" ", "-"))

    @property
    def carried(self) -> Path:
        """A machine to which nothing but the wheel was copied."""
        return self.folder / "carried"

    @property
    def wheel(self) -> Path:
        """The wheel, once it is built."""
        [wheel] = (self.checkout / "dist").glob(f"{PACKAGE}-*.whl")
        return wheel


def main() -> None:
    """Checks one thing after the other; ends with 1 and a sentence at the first that is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the environments, and say where")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.keep:
            folder = Path(tempfile.mkdtemp(prefix="release-check-"))
            say(f"kept: {folder}")
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="release-check-")))
        release = _checked_out(folder)
        _without_a_host(release)
        _with_the_host(release)
        _development(release)
    say("The package is fit to be released.")


def _checked_out(folder: Path) -> _Release:
    """The files that a reader has, and what their documents say."""
    checkout = folder / "checkout"
    for made in (checkout, folder / "carried"):
        made.mkdir()
    archive = run(["git", "archive", "HEAD"], cwd=ROOT, text=False)
    run(["tar", "-x", "-C", checkout], input=archive, text=False)
    try:
        lines = InstallLines.read((checkout / "README.md").read_text("utf-8"))
        recipe = ImageRecipe.read((checkout / "deploy/README.md").read_text("utf-8"))
    except ValueError as error:
        fail(str(error))
    return _Release(folder, checkout, lines, recipe)


def _without_a_host(release: _Release) -> None:
    """The command line alone, and with the server; none of it brings a host."""
    lines = release.lines
    environment = release.environment("without a host")
    environment.install(lines.build_wheel, release.checkout)
    _look_into_packages(release)

    environment.install(lines.command_line, release.checkout)
    environment.check_command_line()

    environment.uninstall()
    environment.install(lines.server, release.checkout)
    environment.check_server(lines.exports)

    _serve_as_image(release, release.environment("the server's image"))

    environment.uninstall()
    environment.install(lines.wheel_of_server, release.carried)
    environment.check_server(lines.exports)

    environment.install(lines.server_with_bucket, release.checkout)
    environment.run("python", "-c", "from obstore.store import S3Store")
    for module in ("inference", "cv2", "torch"):
        if module in environment.state():
            fail(f"the server alone brings {module}")
    if new := environment.conflicts():
        fail(f"pip check: {sorted(new)}")


def _look_into_packages(release: _Release) -> None:
    """Whether the wheel and the sdist hold what git tracks."""
    tracked = run(["git", "ls-files"], cwd=ROOT).splitlines()
    out = release.folder / "from-sdist"
    run([UV, "build", "--quiet", "--out-dir", out, release.checkout])
    [sdist] = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        kept = {member.name.partition("/")[2] for member in files}
    missing = {name for name in tracked if not name.startswith(".ci")} - kept
    if missing:
        fail(f"the sdist lacks {sorted(missing)[:5]}")

    expected = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    expected |= {
        name.replace("sample_workflows", f"{PACKAGE}/{WORKFLOWS}", 1)
        for name in tracked
        if name.startswith("sample_workflows/")
    }
    for wheel in (*out.glob("*.whl"), release.wheel):
        with zipfile.ZipFile(wheel) as opened:
            names = {name for name in opened.namelist() if not name.endswith("/")}
        inside = {name for name in names if ".dist-info/" not in name}
        _same("the wheel", inside, expected)
        metadata = {name.rpartition("/")[2] for name in names - inside}
        if not {"METADATA", "RECORD", "entry_points.txt", "LICENSE"} <= metadata:
            fail(f"the wheel's metadata are {sorted(metadata)}")
        say(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")
    shutil.copy(release.wheel, release.carried)


def _with_the_host(release: _Release) -> None:
    """The package with the host; then each way to add it to a host, none of which changes that."""
    lines = release.lines
    environment = release.environment("with the host")
    environment.uv_is_pip()
    environment.install(lines.with_host, release.checkout)
    environment.check_command_line()
    environment.check_doctor("plugin", exports=lines.exports)

    environment.leave_the_host()
    before, conflicts = environment.state(), environment.conflicts()

    def expect_nothing_changed(*, only_ours_is_new: bool = True) -> None:
        after = environment.state()
        changed = {name for name, state in before.items() if after.get(name) != state}
        if changed:
            fail(f"installing the package changed {sorted(changed)}")
        if only_ours_is_new and after.keys() - before.keys() != {NAME}:
            fail(f"new beside the host: {sorted(after.keys() - before.keys())}")

    environment.install(lines.beside_host, release.checkout)
    expect_nothing_changed()
    environment.uninstall()
    environment.install(lines.wheel_beside_host, release.carried)
    expect_nothing_changed()
    environment.uninstall()
    environment.install(release.recipe.build_wheels, release.checkout)
    variables = _build_image(release, environment, release.recipe.dockerfile)
    expect_nothing_changed()
    if variables.get("WORKFLOWS_PLUGINS") != PACKAGE:
        fail(f"the Dockerfile does not name the block to the host: {variables}")
    say("manifests")
    script = ROOT / "docs/manifests.py"
    environment.run("python", script, "--folder", ROOT / "manifests", **variables)

    environment.install(lines.server, release.checkout)
    expect_nothing_changed(only_ours_is_new=False)
    if new := environment.conflicts() - conflicts:
        fail(f"pip check: {sorted(new)}")
    environment.check_server(lines.exports)
    say("demo")
    environment.run("vision-events", "demo", "--exit")


def _build_image(release: _Release, environment: Environment, dockerfile: str) -> dict[str, str]:
    """Follows a Dockerfile in an environment that has what its image has; gives its variables.

    What is about the image itself is no part of this check. A volume is a folder here.
    """
    context = release.checkout / release.recipe.context
    root = release.folder / Path(dockerfile).stem
    variables: dict[str, str] = {}
    for step in dockerfile_steps((release.checkout / dockerfile).read_text("utf-8")):
        # What is at the root of the image is in a folder here.
        argument = re.sub(r"""(?<![^\s"'=])/(?=\w)""", f"{root}/", step.argument)
        match step.instruction:
            case "COPY":
                pattern, target = argument.split()
                Path(target).mkdir(parents=True)
                for path in context.glob(pattern):
                    shutil.copy(path, target)
            case "RUN":
                if os.geteuid():  # nobody else may give a folder away
                    argument = re.sub(r" -[og] \d+", "", argument)
                environment.install(argument, root)
            case "ENV":
                variables |= dict(word.split("=", 1) for word in shlex.split(argument))
            case "VOLUME":
                Path(argument).mkdir(parents=True, exist_ok=True)
            case "ARG" | "FROM" | "USER" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass
            case other:
                fail(f"the Dockerfile has a step that nobody runs: {other}")
    return variables


def _serve_as_image(release: _Release, environment: Environment) -> None:
    """Starts the server as its image does, but for this machine alone; asks it as Docker would."""
    dockerfile = "deploy/server.Dockerfile"
    variables = _build_image(release, environment, dockerfile)
    steps = dockerfile_steps((release.checkout / dockerfile).read_text("utf-8"))
    found = {step.instruction: step.argument for step in steps}
    command = [
        "127.0.0.1" if word == "0.0.0.0" else word
        for word in json.loads(found["ENTRYPOINT"]) + json.loads(found["CMD"])
    ]
    check = json.loads(found["HEALTHCHECK"].partition(" CMD ")[2])
    variables["VISION_EVENT_API_KEYS"] = "a-key-for-the-release-check"
    with environment.serving([*command, "--port", "0"], **variables) as url:
        port = url.rpartition(":")[2]
        environment.run(*(word.replace("9100", port) for word in check))
    data = Path(variables["XDG_DATA_HOME"])
    if not (data / "vision-events/server/vision-events.db").is_file():
        fail(f"the image keeps nothing in its volume: {sorted(data.rglob('*'))[:5]}")


def _development(release: _Release) -> None:
    """The environment to work in, in the repository itself: it is the one that runs this."""
    run(["/bin/sh", "-ec", release.lines.development], cwd=ROOT)
    say("docs")
    run(["make", "docs"], cwd=ROOT)
    run([Path(sys.executable).with_name("vision-events"), "--version"])


def _same(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        lacks, more = sorted(expected - found)[:5], sorted(found - expected)[:5]
        fail(f"{what} lacks {lacks} and has {more} that it should not have")


if __name__ == "__main__":
    main()
