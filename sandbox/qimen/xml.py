"""XML to plain dicts and back, with expat alone: no document type, no entities."""

from __future__ import annotations

from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

Node = dict[str, Any]  # child name -> text, Node, or list of these when the name repeats


class BadXml(ValueError):
    """Not well-formed, or with a document type."""


def read_xml(body: bytes) -> Node:
    """The children of the root element. Raises BadXml."""
    stack: list[tuple[str, Node, list[str]]] = [("", {}, [])]

    def start(name: str, _attributes: dict[str, str]) -> None:
        if len(stack) > 32:
            raise BadXml("too deep")
        stack.append((name, {}, []))

    def end(name: str) -> None:
        _, children, texts = stack.pop()
        value: Any = children or "".join(texts).strip()
        parent = stack[-1][1]
        if name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]

    def characters(data: str) -> None:
        stack[-1][2].append(data)

    def doctype(*_args: Any) -> None:
        raise BadXml("document type refused")

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)
    except ExpatError as error:
        raise BadXml(str(error)) from error
    root: object = next(iter(stack[0][1].values()), {})
    return root if isinstance(root, dict) else {}


def text(node: Node, path: str) -> str:
    """The text at a dotted path, "" when it is not there."""
    value: Any = node
    for name in path.split("."):
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value if isinstance(value, str) else ""


def nodes(node: Node, path: str) -> list[Node]:
    """All elements at a dotted path, also when there is one or none."""
    value: Any = node
    for name in path.split("."):
        value = value.get(name, []) if isinstance(value, dict) else []
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


def escape(value: object) -> str:
    """Text for element content."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def response(flag: str, code: str, message: str, inner: str = "") -> bytes:
    """A Qimen response document; `inner` is XML already."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<response><flag>{flag}</flag><code>{escape(code)}</code>'
        f"<message>{escape(message)}</message>{inner}</response>"
    ).encode()
