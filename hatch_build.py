"""README as a package index shows it, where a link to a file of the repository leads nowhere.

The repository's address is not written down here, for forks and mirrors have others. Whoever
publishes names it: `PROJECT_URL=https://... uv build` makes the links absolute, at the version's
tag, and fills [project.urls]. Without it the texts of the links stay, but no dead link or picture.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?!https?://)([^)\s]+)\)")


class PackageIndex(MetadataHookInterface):
    """Fills what the project leaves open."""

    def update(self, metadata: dict[str, Any]) -> None:
        url = os.environ.get("PROJECT_URL", "").rstrip("/")
        readme = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": description(readme, url, f"v{metadata['version']}"),
        }
        metadata["urls"] = urls(url)


def description(readme: str, url: str, tag: str) -> str:
    """README with links that work anywhere; those of code stay as they are."""

    def absolute(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        if not url:
            return "" if mark else words
        if target.startswith("#"):
            return f"[{words}]({url}{target})"
        return f"{mark}[{words}]({url}/{'raw' if mark else 'blob'}/{tag}/{target})"

    parts = re.split(r"(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = (_LINK.sub(absolute, prose) for prose in parts[::2])
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def urls(url: str) -> dict[str, str]:
    """The addresses of the project, all of one repository."""
    if not url:
        return {}
    changes = f"{url}/blob/main/CHANGELOG.md"
    return {"Repository": url, "Issues": f"{url}/issues", "Changelog": changes}
