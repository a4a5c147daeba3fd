"""The README's table of the block's fields, made from the manifest.

python docs/fields.py            # ends with 1 if README holds another table
python docs/fields.py --write
"""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
MANIFEST: Final = ROOT / "manifests/vision_event@v1.json"
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- fields: made by docs/fields.py -->\n"
END: Final = "<!-- end of fields -->\n"


def table() -> str:
    """The rows in the order of the editor's form."""
    schema = json.loads(MANIFEST.read_text(encoding="utf-8"))["block_schema"]
    # Of two names for the same thing one is required; ours stands first.
    one_of = [name for option in schema.get("anyOf", ()) for name in option["required"]]
    rows = ["| field | default | meaning |", "| --- | --- | --- |"]
    for name, field in schema["properties"].items():
        if name in ("type", "name") or field.get("hidden"):
            continue
        required = name in (*schema["required"], *one_of[:1])
        rows.append(f"| `{name}` | {_default(field, required=required)} | {_meaning(field)} |")
    return "\n".join(rows) + "\n"


def with_table(readme: str) -> str:
    """README with the table in its place."""
    head, _, rest = readme.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


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
    # A field of nearly every type is found by whoever looks for it.
    if event_types and len(event_types) == 1:
        meaning += f" For `{event_types[0]}`."
    return meaning


def main() -> None:
    """Compares or writes."""
    before = README.read_text(encoding="utf-8")
    after = with_table(before)
    if sys.argv[1:] == ["--write"]:
        README.write_text(after, encoding="utf-8")
    elif before != after:
        sys.exit("README.md holds another table of fields: run python docs/fields.py --write")


if __name__ == "__main__":
    main()
