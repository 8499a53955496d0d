"""The pages say what the code does. Every name, test, path, command, setting, route, state and code on them is compared
with the source, so that a page cannot outlive what it describes."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import hub as command_line
from api.app import create_app
from connectors._channel import Channel
from domain.order import Order
from domain.ruleset_life import RAILS, RULESET
from domain.states import MACHINES, as_markdown
from normalizer.mapping import normalize
from pipeline.apply import apply_values
from pipeline.bootstrap import Hub, close_hub, open_hub
from pipeline.exceptional import APPROVE
from pipeline.settings import _NAMES, Settings
from rules.language import load as load_ruleset
from tests.domain.test_allocation import worked_example
from tests.source import ROOT, Module, read_modules
from tests.test_house import IMPORTS
from wire.strict_json import parse_value

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = f"1 {'11' * 32};search {'22' * 32}"
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
# Backticked words with a dot that are files and not names of code.
FILES = frozenset({"db", "json", "lock", "md", "py", "toml", "csv", "sqlite"})


def read(page: Path) -> str:
    return page.read_text("utf-8")


def read_section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ *{re.escape(heading)} *$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[1]


def read_table(text: str) -> list[list[str]]:
    """The rows of every table in the text, without their headings."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    heads = {at - 1 for at, row in enumerate(cells) if set("".join(row)) <= {"-", ":"}}
    return [row for at, row in enumerate(cells) if at not in heads and at - 1 not in heads]


def read_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


# --- names of code, tests, files -------------------------------------------------------------------------------------


@cache
def definitions() -> Mapping[str, frozenset[str]]:
    """What each module defines at its top, and its classes' members as Class.member; by dotted module name."""
    return {
        module.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): frozenset(_defined(module.tree))
        for module in read_modules()
    }


def _defined(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _defined(node))


def is_defined(dotted: str) -> bool:
    """Whether `pipeline.pull.pull_due`, a class's member or a module of that name exists."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        module = ".".join(parts[:cut])
        if module in definitions():
            rest = ".".join(parts[cut:])
            return not rest or rest in definitions()[module]
    return False


def find_unknown_names(text: str) -> list[str]:
    """Backticked dotted names that begin with one of our packages and lead nowhere."""
    names = [re.sub(r"\(.*\)$", "", each) for each in ticked(text)]
    dotted = [name for name in names if re.fullmatch(r"[a-z_]+(\.\w+)+", name) and name.rpartition(".")[2] not in FILES]
    return [name for name in dotted if name.partition(".")[0] in IMPORTS and not is_defined(name)]


def find_unknown_tests(text: str) -> list[str]:
    """Test files that do not exist, and test functions that are not in their file."""
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", text)
    missing = [(path, name) for path, name in named if name not in _tests_of(path)]
    return ["::".join(filter(None, pair)) for pair in missing]


@cache
def _tests_of(path: str) -> frozenset[str]:
    """What a test file defines, and "" for the file itself; nothing when there is none."""
    file = ROOT / path
    return frozenset(("", *_defined(ast.parse(read(file))))) if file.exists() else frozenset()


def find_unknown_paths(text: str) -> list[str]:
    """Backticked paths below one of our folders that do not exist."""
    folders = "|".join([*IMPORTS, "docs", "tests", r"\.ci"])
    paths = [each for each in ticked(text) if re.fullmatch(rf"({folders})/[\w./-]*", each)]
    return [path for path in paths if not (ROOT / path).exists()]


def find_dead_links(page: Path) -> list[str]:
    """Links to files or headings that are not there. Links to other sites are left alone."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in _anchors(read(target))):
            dead.append(link)
    return dead


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@each_page
def test_a_page_names_only_what_exists(page: Path) -> None:
    text = read(page)
    missing = [*find_unknown_names(text), *find_unknown_tests(text), *find_unknown_paths(text), *find_dead_links(page)]
    assert not missing


def test_what_does_not_exist_is_found(tmp_path: Path) -> None:
    assert find_unknown_names(
        "`pipeline.pull.pull_due` `hub.py` `a.b` `pipeline.pull.gone()` `storage.vault.Vault.seal`"
    ) == ["pipeline.pull.gone"]
    assert find_unknown_tests("tests/gone.py tests/test_docs.py::test_gone tests/test_docs.py::read_table") == [
        "tests/gone.py",
        "tests/test_docs.py::test_gone",
    ]
    assert find_unknown_paths("`rules/default.json` `rules/gone.json` `/v1/orders`") == ["rules/gone.json"]
    page = tmp_path / "page.md"
    page.write_text("# A head, really\n[a](#a-head-really) [b](gone.md) [c](#gone) [d](https://example.org/)")
    assert find_dead_links(page) == ["gone.md", "#gone"]


def test_one_order_is_followed_through_every_stage() -> None:
    named = ticked(read_section(read(ROOT / "README.md"), "One order, followed by function names"))
    rooms = {name.partition(".")[0] for name in named if is_defined(name)}
    assert {"connectors", "normalizer", "rules", "storage", "pipeline", "outbound", "wire", "api"} <= rooms


def test_every_guarantee_names_its_tests() -> None:
    rows = read_table(read_section(read(ROOT / "README.md"), "Guarantees"))
    assert len(rows) >= 10
    assert not [row[0] for row in rows if "::test_" not in row[-1]]


# --- settings, commands, routes --------------------------------------------------------------------------------------


def test_the_settings_table_is_the_settings() -> None:
    rows = read_table(read_section(read(ROOT / "README.md"), "Settings"))
    told = {ticked(row[1])[0]: (row[0], row[2]) for row in rows}
    variables = {field: f"`{name}`" for name, field in _NAMES.items()}
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert told == {name: (variables.get(name, "–"), _shown(default)) for name, default in defaults.items()}


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`" if default < 100_000 else f"`{round(default)}`"
    return f"`{default}`" if default not in {None, ""} else "–"


def test_the_commands_table_is_the_command_line() -> None:
    rows = read_table(read_section(read(ROOT / "README.md"), "Commands"))
    told = {_command(row[0]): (_arguments(row[0]), set(re.findall(r"--[a-z-]+", row[1]))) for row in rows}
    real = {name: _parameters(command) for name, command in _commands(typer.main.get_command(command_line.app))}
    assert told == real


def _command(cell: str) -> str:
    """`rules arm VERSION` is the command `rules arm`."""
    return " ".join(re.findall(r"\b[a-z]+\b", ticked(cell)[0]))


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its name, those of a group after the group's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield f"{before}{name}", command
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _arguments(cell: str) -> set[str]:
    return set(re.findall(r"[A-Z]+", cell))


def _parameters(command: Any) -> tuple[set[str], set[str]]:
    arguments = {each.name.upper() for each in command.params if each.param_type_name == "argument"}
    options = [each for each in command.params if each.param_type_name == "option"]
    return arguments, {name for each in options for name in (*each.opts, *each.secondary_opts) if name != "--help"}


@pytest.fixture
def opened(sqlite_url: str, tmp_path: Path) -> Iterator[Hub]:
    hub = open_hub(Settings(data_folder=tmp_path, database_url=sqlite_url, key=KEYS), migrated=True)
    yield hub
    close_hub(hub)


def test_the_routes_table_is_the_api(opened: Hub) -> None:
    rows = read_table(read_section(read(ROOT / "README.md"), "HTTP API"))
    told = {(method, ticked(row[1])[0]) for row in rows for method in row[0].split(", ")}
    paths = create_app(opened).openapi()["paths"]
    assert told == {(method.upper(), path) for path, methods in paths.items() for method in methods}


# --- examples --------------------------------------------------------------------------------------------------------


def test_the_example_configuration_can_be_applied(opened: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = read_blocks(read_section(read(ROOT / "README.md"), "Configuration file"), "toml")
    for name in re.findall(r'"env:(\w+)"', example):
        monkeypatch.setenv(name, "a-secret-of-enough-characters")
    applied = apply_values(opened, tomllib.loads(example)).changed
    assert set(applied) >= {"partners", "warehouses", "accounts", "keys", "listings", "stock"}


def test_the_example_ruleset_loads() -> None:
    (example,) = read_blocks(read(DOCS / "routing.md"), "json")
    assert load_ruleset(example.encode()).version


def test_the_example_channel_reads_its_example_order(tmp_path: Path) -> None:
    guide = read(DOCS / "connector-guide.md")
    (code,), (document,) = read_blocks(guide, "python"), read_blocks(guide, "json")
    order = normalize(parse_value(document.encode()), _load_channel(code, tmp_path).mapping, zone=UTC, now=NOW)
    assert (order.external_id, order.status, order.amounts.paid) == ("A-1001", "pending_shipment", 20540)


def _load_channel(code: str, folder: Path) -> Channel:
    file = folder / "acme.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("connectors.acme", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    channel = module.CHANNEL
    assert isinstance(channel, Channel)
    return channel


def test_the_worked_example_is_what_the_code_computes() -> None:
    rows = read_table(read_section(read(DOCS / "allocation.md"), "Worked example"))
    told = {row[0]: [int(cell) for cell in row[1:]] for row in rows}
    order = worked_example()
    real = {line.external_id: [line.amount, line.discount, line.freight, line.paid] for line in order.lines}
    assert {name: [row[0], row[1] + row[2], *row[3:]] for name, row in told.items() if name != "sum"} == real
    assert told["sum"] == [sum(column) for column in zip(*(told[name] for name in real), strict=True)]
    assert told["sum"][-1] == _paid(order)


def _paid(order: Order) -> int:
    return order.amounts.paid


def test_the_state_tables_are_the_state_machines() -> None:
    text = read(DOCS / "states.md")
    assert not [machine.name for machine in MACHINES if as_markdown(machine) not in text]


def test_the_life_of_a_ruleset_is_the_table() -> None:
    text = read(DOCS / "replay.md")
    assert as_markdown(RULESET) in text
    told = {ticked(row[0])[0]: int(row[1]) for row in read_table(read_section(text, "Guard rails"))}
    assert told == RAILS


# --- exception codes -------------------------------------------------------------------------------------------------

# Where a code stands in a call that makes an exception sooner or later.
CODE_AT = {
    "Problem": 0,
    "MappingError": 0,
    "Hold": 0,
    "Contextual": 1,
    "_plain": 3,
    "raise_exception": 2,
    "exception_row": 1,
}
# Errors that stop the absorbing of one document whatever their class.
WHOLE_ERRORS = {"RefusedError": ("domain/states.py",), "ConfigError": ("storage/vault.py",)}
# Requests to the API are answered, and the page of a list is read again: neither becomes an exception.
NOT_DOCUMENTS = ("pipeline/desk.py", "pipeline/supply.py", "wire/client.py", "sandbox/", "bench/")
# Raised while keys are read, something is written, or a list is taken apart: never about one document.
NEVER_HERE = frozenset({"vault_key_file", "unencodable", "records_missing"})


def raised_codes() -> set[str]:
    """Every code that the source can put on an exception, found by reading it."""
    found: set[str] = set()
    for module in read_modules():
        if not module.path.startswith(NOT_DOCUMENTS):
            found |= _codes_of(module)
    holds = json.loads(read(ROOT / "rules" / "default.json"))["rules"]
    return found | {rule["then"]["hold"] for rule in holds if "hold" in rule["then"]}


def _codes_of(module: Module) -> set[str]:
    found: set[str] = set()
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef)]
    for scope in [module.tree, *functions]:
        for node in ast.walk(scope):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                place = 0 if module.path in WHOLE_ERRORS.get(name, ()) else CODE_AT.get(name)
                if place is not None and len(node.args) > place:
                    found |= _texts(node.args[place], scope, module.tree)
                found |= {
                    code
                    for word in node.keywords
                    if word.arg == "cut"
                    for code in _texts(word.value, scope, module.tree)
                }
    return found


def _texts(node: ast.AST, *scopes: ast.AST) -> set[str]:
    """The texts an expression can be: a constant, a choice, or a name that is given texts in one of the scopes."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    if isinstance(node, ast.IfExp):
        return _texts(node.body, *scopes) | _texts(node.orelse, *scopes)
    if isinstance(node, ast.BoolOp):
        return set().union(*(_texts(value, *scopes) for value in node.values))
    if not isinstance(node, ast.Name):
        return set()
    given = [each for scope in scopes for each in ast.walk(scope) if isinstance(each, ast.Assign)]
    named = [each.value for each in given if any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets)]
    return set().union(*(_texts(value) for value in named)) if named else set()


def raised_beginnings() -> set[str]:
    """Beginnings of codes that rules of one's own complete, as the pages write them: `approve_*`."""
    return {f"{APPROVE}*"}


def told_codes() -> set[str]:
    rows = read_table(read_section(read(DOCS / "exceptions.md"), "From checks and rules"))
    rows += read_table(read_section(read(DOCS / "exceptions.md"), "From events"))
    rows += read_table(read_section(read(DOCS / "exceptions.md"), "From documents that cannot be read"))
    return {code for row in rows for code in ticked(row[0])}


def test_every_code_of_an_exception_is_on_the_page() -> None:
    raised = raised_codes()
    assert {
        "sku_unmapped",
        "out_of_stock",
        "no_warehouse",
        "hold_remark",
        "send_exhausted",
        "duplicate_key",
        "qty",
    } <= raised
    assert not sorted(raised - told_codes() - NEVER_HERE), "docs/exceptions.md lacks these"
    assert raised_beginnings() <= told_codes()


def test_every_code_on_the_page_can_be_raised() -> None:
    assert not sorted(told_codes() - raised_codes() - raised_beginnings()), (
        "docs/exceptions.md tells of these, nothing raises them"
    )
