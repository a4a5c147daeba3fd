"""Lays out the documents as mkdocs requires and builds the site: `make docs`.

They are written to be read in the repository, so README links to docs/ and docs/ to deploy/. This
script copies them into one folder with the same paths, together with every file that they link to.
"""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from mkdocs.__main__ import cli

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ROOT / "build/pages"
_FOLDERS: Final = (".", "docs", "deploy", "sample_workflows")
_LINK: Final = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def main() -> None:
    """Builds the site; exits with an error if a link is dead."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in [page for folder in _FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]:
        linked = _LINK.findall(page.read_text("utf-8"))
        for path in [page, *(page.parent / target for target in linked)]:
            if path.is_file():  # mkdocs says which links lead nowhere
                copy = PAGES / path.resolve().relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    sys.exit(cli(["build", "--clean", "--config-file", str(ROOT / "mkdocs.yml")]))


if __name__ == "__main__":
    main()
