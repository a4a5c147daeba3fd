"""How the documents tell people to install, read from the documents themselves.

The release check runs what this finds, so that no line in them can be one that nobody ever ran.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Self

#: What README says about a line, and what the release check calls it.
_WHERE: Final = {
    "Inference, installed with pip": "beside_host",
    "nothing yet: this installs Inference, about 7 GB": "with_host",
    "no Inference: the command line alone": "command_line",
    "the local server, with or without Inference": "server",
    "the local server with pictures in a bucket": "server_with_bucket",
    "a change you want to make": "development",
    "in the checkout": "build_wheel",
    "next to Inference": "wheel_beside_host",
    "the local server": "wheel_of_server",
}


@dataclass(frozen=True)
class InstallLines:
    """The lines of README's install part, each for another situation."""

    beside_host: str
    with_host: str
    command_line: str
    server: str
    server_with_bucket: str
    development: str
    build_wheel: str
    wheel_beside_host: str
    wheel_of_server: str
    #: What the host is told before it starts: lines of `export`.
    exports: str

    @classmethod
    def read(cls, readme: str) -> Self:
        """The lines as README has them.

        Raises:
            ValueError: README has a line of which the release check knows nothing, or lacks one.
        """
        part = readme.partition("\n## Install\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| (.+?) \| `(.+)` \|$", part, re.MULTILINE)
        shell = "".join(re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL))
        exports = re.findall(r"^export .*", shell, re.MULTILINE)
        others = re.findall(r"^(?!export )(.+)", shell, re.MULTILINE)
        # A line of a block says in a comment where it belongs.
        commented = [line.partition("  # ") for line in others]
        found = dict(rows) | {where: line.rstrip() for line, _, where in commented}
        if set(found) != set(_WHERE) or len(found) != len(rows) + len(others):
            raise ValueError(f"README installs for {sorted(found)}, the check for {sorted(_WHERE)}")
        named = {name: found[where] for where, name in _WHERE.items()}
        return cls(**named, exports="\n".join(exports))


@dataclass(frozen=True)
class ImageRecipe:
    """How deploy/README.md builds an image: a line that makes the wheels, and a Dockerfile."""

    build_wheels: str
    #: Relative to the checkout.
    dockerfile: str
    context: str

    @classmethod
    def read(cls, deploy: str) -> Self:
        """The recipe as the document has it.

        Raises:
            ValueError: It has another form than the one that the release check knows.
        """
        found = re.search(r"^```sh\n(pip wheel .+)\n```", deploy, re.MULTILINE)
        build = re.search(r"^docker build --tag \S+ --file (\S+) (\S+)$", deploy, re.MULTILINE)
        if found is None or build is None:
            raise ValueError("deploy/README.md has no `pip wheel`, or no `docker build` after it")
        return cls(found[1], build[1], build[2])


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile."""

    instruction: str
    argument: str


def dockerfile_steps(text: str) -> list[Step]:
    """The instructions of a Dockerfile; one that goes over several lines is one step."""
    code = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [Step(*line.split(maxsplit=1)) for line in lines if line.strip()]


def pip_lines(markdown: str) -> set[str]:
    """Every line of a document that calls pip, in a block of shell or within the text."""
    blocks = re.findall(r"^```(?:sh|dockerfile)\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    lines = {line.partition("  # ")[0].strip() for block in blocks for line in block.splitlines()}
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    spans = set(re.findall(r"`([^`\n]+)`", text))
    return {line for line in lines | spans if re.match(r"(RUN )?(python3? -m )?pip3? ", line)}
