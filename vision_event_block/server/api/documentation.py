"""The API's documentation: the OpenAPI document, and a page that shows it without scripts."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from vision_event_block.server.auth import page_needs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_BOUNDS: Final = {
    "minLength": "at least",
    "maxLength": "at most",
    "minItems": "at least",
    "maxItems": "at most",
    "maxProperties": "at most",
    "minimum": "from",
    "maximum": "to",
    "exclusiveMaximum": "below",
}

router = APIRouter(include_in_schema=False)


@router.get("/docs", dependencies=[page_needs("read")])
def documentation(request: Request) -> HTMLResponse:
    document = request.app.openapi()
    return HTMLResponse(
        _templates()
        .get_template("documentation.html")
        .render(
            document=document,
            operations=_operations(document),
            type_of=type_of,
            linked=linked,
            prose=prose,
        )
    )


@router.get("/docs.css")
def style() -> Response:
    sheet = resources.files(__package__).joinpath("templates/documentation.css")
    return Response(sheet.read_bytes(), media_type="text/css")


def type_of(schema: Mapping[str, Any]) -> str:
    """A schema in a few words.

    >>> type_of({"type": "array", "items": {"$ref": "#/components/schemas/Image"}, "maxItems": 9})
    'list of Image, at most 9'
    """
    bounds = (f"{words} {schema[key]}" for key, words in _BOUNDS.items() if key in schema)
    return ", ".join([_bare_type_of(schema), *bounds])


def _bare_type_of(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(map(type_of, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def linked(words: str, names: Collection[str]) -> Markup:
    """The words, with a link for each that names a schema."""
    parts = re.split(r"(\W+)", words)
    return Markup().join(
        Markup('<a href="#{0}">{0}</a>').format(part) if part in names else part for part in parts
    )


def prose(text: str | None) -> Markup:
    """The text of a docstring, with `code` marked up."""
    parts = (text or "").split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"method": method.upper(), "path": path, **operation}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
