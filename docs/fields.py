"""The tables of the blocks' fields, made from the manifests.

python docs/fields.py            # exits with 1 if a table is out of date
python docs/fields.py --write
"""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Container

ROOT: Final = Path(__file__).parents[1]
MANIFESTS: Final = ROOT / "manifests"
README: Final = ROOT / "README.md"
TRACK_EVENTS: Final = ROOT / "docs/track-events.md"
BEGIN: Final = "<!-- fields: made by docs/fields.py -->\n"
END: Final = "<!-- end of fields -->\n"


def table(schema: dict[str, Any], *, without: Container[str] = ()) -> str:
    """The rows in the order of the editor's form."""
    # Of two names for the same thing one is required; ours stands first.
    one_of = [name for option in schema.get("anyOf", ()) for name in option["required"]]
    rows = ["| field | default | meaning |", "| --- | --- | --- |"]
    for name, field in schema["properties"].items():
        if name in ("type", "name") or name in without or field.get("hidden"):
            continue
        required = name in (*schema["required"], *one_of[:1])
        rows.append(f"| `{name}` | {_default(field, required=required)} | {_meaning(field)} |")
    return "\n".join(rows) + "\n"


def with_table(page: str, table: str) -> str:
    """The page with the table in its place."""
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


def pages() -> dict[Path, str]:
    """Each page as it should be. For Track Event, only its own fields are shown."""
    vision_event, track_event = map(_schema, ("vision_event@v1", "track_event@v1"))
    tables = {
        README: table(vision_event),
        TRACK_EVENTS: table(
            track_event, without=vision_event["properties"].keys() - {"input_image", "predictions"}
        ),
    }
    return {page: with_table(page.read_text(encoding="utf-8"), it) for page, it in tables.items()}


def _schema(name: str) -> dict[str, Any]:
    text = (MANIFESTS / f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)["block_schema"]
    return schema


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = field.get("default")
    if default in (None, ""):
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _meaning(field: dict[str, Any]) -> str:
    meaning = " ".join(field["description"].split())
    values = [value for each in (field, *field.get("anyOf", [])) for value in each.get("enum", [])]
    unsaid = [value for value in values if value not in meaning]
    if unsaid:
        meaning += " " + ", ".join(f"`{value}`" for value in values[:-1]) + f" or `{values[-1]}`."
    event_types = field.get("relevant_for", {}).get("event_type", {}).get("values")
    # Worth saying only for a field of a single event type.
    if event_types and len(event_types) == 1:
        meaning += f" For `{event_types[0]}`."
    return meaning


def main() -> None:
    """Compares or writes."""
    for page, after in pages().items():
        if sys.argv[1:] == ["--write"]:
            page.write_text(after, encoding="utf-8")
        elif page.read_text(encoding="utf-8") != after:
            sys.exit(f"{page.name} has an outdated table of fields: run docs/fields.py --write")


if __name__ == "__main__":
    main()
