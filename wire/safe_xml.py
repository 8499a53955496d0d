"""XML in and out for Qimen-style warehouses: nothing that a document type can do, bounded size, UTF-8 only.

Source: promises.md section 1 and section 4 rows 22-26 (2026-11-21, H); list naming from facts qimen.md section 1 (H).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.etree.ElementTree import fromstring as read_plain

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from domain.errors import MappingError


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """`depth` of nesting, `nodes` (elements), `size` in bytes."""

    depth: int = 32
    nodes: int = 50_000
    size: int = 20 * 2**20


DEFAULT_LIMITS = XmlLimits()

# Element that holds a list -> name of its items, where the item is not simply the name without its last letter.
QIMEN_LISTS: Mapping[str, str] = {
    "orderLines": "orderLine",
    "packages": "package",
    "items": "item",
    "orders": "order",
    "batchs": "batch",
    "criteriaList": "criteria",
    "packageMaterialList": "packageMaterial",
    "relatedOrders": "relatedOrder",
    "subSourceOrders": "subSourceOrder",
    "processes": "process",
    "snList": "sn",
    "invoices": "invoice",
    "deliveryOrders": "deliveryOrder",
}

_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_UTF8 = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
_UNENCODABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def parse(data: bytes, *, limits: XmlLimits = DEFAULT_LIMITS) -> Element:
    """The root element. Raises MappingError `encoding`, `too_large`, `dtd`, `depth`, `too_many_nodes` or `xml`; nothing
    else.
    """
    plain = _check(data, limits)
    try:
        root: Element = (
            # Six times as fast, and nothing in such a document could declare what the other one refuses.
            read_plain(data)  # noqa: S314 - without "<!" there is no document type, without that no entity
            if plain
            else fromstring(data, forbid_dtd=True, forbid_entities=True, forbid_external=True)
        )
    except DefusedXmlException as error:
        raise MappingError("dtd", type(error).__name__) from None
    except (ParseError, ValueError, LookupError) as error:
        raise MappingError("xml", str(error)[:200]) from None
    level, depth, nodes = [root], 0, 0
    while level:
        depth, nodes = depth + 1, nodes + len(level)
        if depth > limits.depth:
            raise MappingError("depth", f"nested deeper than {limits.depth}")
        if nodes > limits.nodes:
            raise MappingError("too_many_nodes", f"more than {limits.nodes}")
        level = [child for element in level for child in element]
    return root


def to_value(element: Element, *, lists: Mapping[str, str] = QIMEN_LISTS) -> Any:
    """The element as str, dict or list.

    A leaf is its text ("" when empty). A list element, one that `lists` names and whose children all bear the item's
    name, is a list, also with one item or none. Any other element is a dict; a child name that repeats gives a list
    under that name. Attributes are kept as "@name", and text beside them as "#text".
    """
    item = lists.get(element.tag)
    if item is not None and all(child.tag == item for child in element) and not (element.text or "").strip():
        return [to_value(child, lists=lists) for child in element]
    if not len(element) and not element.attrib:
        return element.text or ""
    found: dict[str, Any] = {f"@{name}": value for name, value in element.attrib.items()}
    repeated: set[str] = set()
    for child in element:
        value = to_value(child, lists=lists)
        if child.tag not in found:
            found[child.tag] = value
        elif child.tag in repeated:
            found[child.tag].append(value)
        else:
            repeated.add(child.tag)
            found[child.tag] = [found[child.tag], value]
    if (text := (element.text or "").strip()) and element.attrib:
        found["#text"] = text
    return found


def children(element: Element, list_name: str, item_name: str) -> list[Element]:
    """The items of a list element, e.g. `children(root, "orderLines", "orderLine")`; [] when the list is absent or
    empty.
    """
    return [child for holder in element.findall(list_name) for child in holder.findall(item_name)]


def build(name: str, tree: Any) -> bytes:
    """An XML document with root `name`, UTF-8 with declaration, without white space between elements.

    `tree` is str, int, Decimal (written plainly), a mapping of child name -> tree (a sequence there repeats the child),
    or None, which leaves the element out. Raises MappingError `unencodable` for characters XML 1.0 cannot carry,
    impossible names and other types (bool and float among them: the partner's own words for yes and no are the
    adapter's business, and money is no float).
    """
    parts = ['<?xml version="1.0" encoding="utf-8"?>']
    _write(parts, name, {} if tree is None else tree)
    text = "".join(parts)
    if bad := _UNENCODABLE.search(text):
        raise MappingError("unencodable", f"character U+{ord(bad.group()):04X}")
    return text.encode()


def _check(data: bytes, limits: XmlLimits) -> bool:
    """Whether the document certainly has no document type: it is read as the UTF-8 it was checked to be, and holds no "<!"."""
    if len(data) > limits.size:
        raise MappingError("too_large", f"more than {limits.size} bytes")
    if data.startswith(b"\xef\xbb\xbf"):
        raise MappingError("encoding", "byte order mark")
    if b"\x00" in data:
        raise MappingError("encoding", "zero byte (UTF-16?)")
    declared = _ENCODING.match(data)
    if declared and declared.group(1).lower() not in _UTF8:
        raise MappingError("encoding", declared.group(1).decode("ascii"))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError("encoding", f"not UTF-8 at byte {error.start}") from None
    # Before building anything: an element costs at least one "<", so this bounds the memory too.
    if data.count(b"<") > 2 * limits.nodes + 1000:
        raise MappingError("too_many_nodes", f"more than {limits.nodes}")
    return b"<!" not in data and (declared is not None or b"encoding" not in data[: data.find(b"?>") + 1])


_SINGLE = frozenset({str, dict, int, Decimal})


def _write(parts: list[str], name: str, tree: Any) -> None:
    opened, closed = _tags(name)
    # The usual types are told by their identity: asking an abstract class takes ten times as long.
    if type(tree) is str or isinstance(tree, str):
        parts.append(f"{opened}{_escape(tree)}{closed}")
    elif type(tree) is dict or isinstance(tree, Mapping):
        parts.append(opened)
        for child, value in tree.items():
            if value is None:
                continue
            if type(value) not in _SINGLE and isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
                for each in value:
                    _write(parts, child, each)
            else:
                _write(parts, child, value)
        parts.append(closed)
    elif isinstance(tree, int) and not isinstance(tree, bool):
        parts.append(f"{opened}{tree}{closed}")
    elif isinstance(tree, Decimal) and tree.is_finite():
        parts.append(f"{opened}{tree:f}{closed}")
    else:
        raise MappingError("unencodable", type(tree).__name__, path=name)


@lru_cache(maxsize=1024)
def _tags(name: str) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise MappingError("unencodable", "element name", path=name[:60])
    return f"<{name}>", f"</{name}>"


def _escape(text: str) -> str:
    if "&" in text or "<" in text or ">" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare CR would come back as a line feed.
    return text.replace("\r", "&#13;") if "\r" in text else text
