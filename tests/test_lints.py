"""Faults no general linter knows, found in the syntax tree. Every lint is shown to bite on samples of its fault."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.source import Module, read_dotted, read_module, read_modules, walk_imports

Finder = Callable[[Module], Iterator[ast.AST | int]]

PURE_ROOMS = frozenset({"domain", "normalizer", "rules"})
# Opens databases and changes their schema, which happens before there is any work to do.
OPENS_DATABASES = ("storage/database.py", "storage/migrations/")


@dataclass(frozen=True, slots=True)
class Lint:
    """A fault: where it counts, how it is found, and samples (path, text) that it must find and must leave alone."""

    name: str
    applies: Callable[[Module], bool]
    find: Finder
    bad: tuple[tuple[str, str], ...]
    good: tuple[tuple[str, str], ...] = ()


def _calls(module: Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called; a method of an expression gives only `.method`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = read_dotted(node.func)
            yield name or (f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""), node


def _find_floats(module: Module) -> Iterator[ast.AST]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node
    yield from (node for name, node in _calls(module) if name == "float")


_NAIVE = {"now": 1, "fromtimestamp": 2, "utcnow": 9, "utcfromtimestamp": 9, "today": 9}


def _find_naive_times(module: Module) -> Iterator[ast.AST]:
    for name, node in _calls(module):
        owner, _, method = name.rpartition(".")
        if owner.rpartition(".")[2] in {"datetime", "date"} and method in _NAIVE:
            given = len(node.args) + sum(keyword.arg in {"tz", "timestamp"} for keyword in node.keywords)
            if given < _NAIVE[method]:
                yield node


_CLOCKS = frozenset({"now", "utcnow", "today", "monotonic", "monotonic_ns", "perf_counter", "time_ns"})


def _find_clocks(module: Module) -> Iterator[ast.AST]:
    for name, node in _calls(module):
        if name.rpartition(".")[2] in _CLOCKS or name in {"time.time", "random.random", "uuid.uuid4", "os.urandom"}:
            yield node


def _find_eval(module: Module) -> Iterator[ast.AST]:
    yield from (node for name, node in _calls(module) if name in {"eval", "exec", "compile", "__import__"})


_TREE = "xml.etree.ElementTree"
_READS_XML = frozenset(
    "fromstring fromstringlist iterparse parse XML XMLID XMLParser XMLPullParser TreeBuilder canonicalize".split()
)


def _find_xml_readers(module: Module) -> Iterator[ast.AST | int]:
    # Writing XML with ElementTree is harmless anywhere; reading it is for the one hardened parser.
    aliases = {_TREE}
    for entry in walk_imports(module):
        if entry.top == "lxml" or (entry.module.startswith("xml.") and not entry.module.startswith("xml.etree")):
            yield entry.line
        if entry.top == "xml" and _READS_XML & set(entry.names):
            yield entry.line
        if entry.module == _TREE and entry.bound:
            aliases.add(entry.bound)
    aliases |= {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "xml.etree"
        for alias in node.names
    }
    for name, node in _calls(module):
        owner, _, method = name.rpartition(".")
        if owner in aliases and method in _READS_XML:
            yield node


_SQL = re.compile(
    r"\bselect\b.+\bfrom\b|\binsert\s+(or\s+\w+\s+)?into\b|\bupdate\s+\S*\s*set\b|\bdelete\s+from\b|\bpragma\s+\w|"
    r"\b(create|drop|alter)\s+(unique\s+)?(table|index|view|trigger|database|schema)\b",
    re.IGNORECASE | re.DOTALL,
)
_RUNS_SQL = frozenset({"text", "execute", "executemany", "exec_driver_sql", "scalar", "scalars"})


def _built_text(node: ast.AST) -> str | None:
    """The constant parts of a text that is put together at run time; None for anything else."""
    match node:
        case ast.JoinedStr(values=values) if any(isinstance(part, ast.FormattedValue) for part in values):
            built: ast.AST = node
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            built = node
        case ast.Call(func=ast.Attribute(value=built, attr="format")):
            pass
        case _:
            return None
    leaves = [leaf.value for leaf in ast.walk(built) if isinstance(leaf, ast.Constant)]
    texts = [leaf for leaf in leaves if isinstance(leaf, str)]
    return " ".join(texts) if texts else None


def _find_built_sql(module: Module) -> Iterator[ast.AST]:
    for node in ast.walk(module.tree):
        if (built := _built_text(node)) and _SQL.search(built):
            yield node
    for name, call in _calls(module):
        if name.rpartition(".")[2] in _RUNS_SQL and call.args and _built_text(call.args[0]) is not None:
            yield call


def _find_transactions(module: Module) -> Iterator[ast.AST]:
    for name, node in _calls(module):
        if "." in name and name.rpartition(".")[2] in {"begin", "commit", "rollback"}:
            yield node


_SECRETS = re.compile(r"(^|_)(digest|hmac|password|secret|sign|signature)$")


def _find_plain_comparisons(module: Module) -> Iterator[ast.AST]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, node.comparators[0]]
        names = [read_dotted(side).rpartition(".")[2].lower() for side in sides]
        if any(_SECRETS.search(name) for name in names) and not any(isinstance(side, ast.Constant) for side in sides):
            yield node


def _in_rooms(*names: str) -> Callable[[Module], bool]:
    return lambda module: module.room in names


def _outside(*names: str) -> Callable[[Module], bool]:
    return lambda module: module.room not in names


LINTS = (
    Lint(
        "money is never a float",
        lambda module: module.path in {"domain/money.py", "domain/allocation.py"},
        _find_floats,
        bad=(("domain/money.py", "x = 0.5"), ("domain/allocation.py", "x = float(1)")),
        good=(("domain/money.py", "isinstance(x, float) or 5 // 2"), ("domain/facts.py", "x = 0.5")),
    ),
    Lint(
        "a time knows its zone",
        lambda _: True,
        _find_naive_times,
        bad=(
            ("api/x.py", "datetime.now()"),
            ("api/x.py", "datetime.datetime.utcnow()"),
            ("api/x.py", "datetime.fromtimestamp(1)"),
            ("sandbox/x.py", "date.today()"),
        ),
        good=(("api/x.py", "datetime.now(UTC)"), ("api/x.py", "datetime.fromtimestamp(1, tz=UTC)")),
    ),
    Lint(
        "a pure room is told the time",
        _in_rooms(*PURE_ROOMS),
        _find_clocks,
        bad=(("domain/x.py", "datetime.now(UTC)"), ("rules/x.py", "time.time()"), ("rules/x.py", "uuid.uuid4()")),
        good=(("pipeline/x.py", "datetime.now(UTC)"),),
    ),
    Lint(
        "no text is run as code",
        lambda _: True,
        _find_eval,
        bad=(("rules/x.py", "eval('1')"), ("hub.py", "exec('1')")),
        good=(("rules/x.py", "re.compile('1')"),),
    ),
    Lint(
        # The sandbox plays the other side: it may not use our parser, and hears nobody but us, on loopback.
        "only wire reads XML",
        _outside("wire", "sandbox"),
        _find_xml_readers,
        bad=(
            ("outbound/x.py", "import lxml.etree"),
            ("outbound/x.py", "from xml.dom import minidom"),
            ("outbound/x.py", "from xml.etree.ElementTree import fromstring"),
            ("outbound/x.py", "from xml.etree import ElementTree as ET\nET.parse('')"),
            ("outbound/x.py", "import xml.etree.ElementTree as ET\nET.XML('')"),
        ),
        good=(("outbound/x.py", "from xml.etree import ElementTree as ET\nET.SubElement(a, 'b')"),),
    ),
    Lint(
        # The sandbox's and the benchmarks' own tables hold nothing from outside.
        "SQL is never put together from text",
        _outside("sandbox", "bench"),
        _find_built_sql,
        bad=(
            ("storage/x.py", "tx.execute(f'select * from {name}')"),
            ("storage/x.py", "query = 'delete from ' + name"),
            ("storage/x.py", "query = 'update orders set x = %s' % value"),
            ("pipeline/x.py", "text('{} x'.format(name))"),
        ),
        good=(
            ("storage/x.py", "text('select 1 from orders where id = :id')"),
            ("storage/x.py", "raise RefusedError(f'cannot update {name}')"),
        ),
    ),
    Lint(
        "only pipeline opens and ends a transaction",
        lambda module: (
            module.room not in {"pipeline", "sandbox", "bench"} and not module.path.startswith(OPENS_DATABASES)
        ),
        _find_transactions,
        bad=(("storage/x.py", "with engine.begin() as tx: ..."), ("api/x.py", "tx.commit()")),
        good=(("pipeline/x.py", "with engine.begin() as tx: ..."), ("domain/x.py", "begin()")),
    ),
    Lint(
        "a signature is compared in constant time",
        _in_rooms("wire", "connectors", "outbound", "api", "console"),
        _find_plain_comparisons,
        bad=(("wire/x.py", "if given.signature != expected: ..."), ("connectors/x.py", "ok = sign == build_sign(x)")),
        good=(("wire/x.py", "if signature == '': ..."), ("wire/x.py", "compare_digest(signature, expected)")),
    ),
)


def find_faults(lint: Lint, module: Module) -> list[str]:
    """Where the lint bites in the module, as path:line."""
    found = lint.find(module) if lint.applies(module) else iter(())
    lines = {at if isinstance(at, int) else getattr(at, "lineno", 0) for at in found}
    return [f"{module.path}:{line}: {lint.name}" for line in sorted(lines)]


@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.name)
def test_the_source_obeys(lint: Lint) -> None:
    faults = [fault for module in read_modules() for fault in find_faults(lint, module)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.name)
def test_the_lint_bites_only_on_its_fault(lint: Lint) -> None:
    assert all(find_faults(lint, read_module(path, text)) for path, text in lint.bad)
    assert not [fault for path, text in lint.good for fault in find_faults(lint, read_module(path, text))]
