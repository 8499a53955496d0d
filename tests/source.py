"""The project's own source as syntax trees, for the tests that keep the house in order."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Folders at the root that hold no room of the house.
NOT_ROOMS = frozenset({"tests", "docs", "data", "node_modules"})


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: its absolute dotted name, the names taken from it, and how it was written."""

    line: int
    module: str
    names: tuple[str, ...] = ()
    bound: str = ""  # for `import a.b as c`: what the file calls it
    relative: bool = False

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.module.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Module:
    """One source file. `room` is its package, or the module itself at the root."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """`storage` for storage/orders.py, `hub` for hub.py."""
        return self.path.partition("/")[0].removesuffix(".py")

    @property
    def package(self) -> list[str]:
        """The parts of the package that contains the file."""
        return self.path.split("/")[:-1]


@cache
def read_modules() -> tuple[Module, ...]:
    """Every source file of ours, tests left out, in the order of paths."""
    paths = [
        path
        for top in sorted(ROOT.iterdir())
        if not top.name.startswith(".") and top.name not in NOT_ROOMS
        for path in ([top] if top.suffix == ".py" else sorted(top.rglob("*.py")))
        if "node_modules" not in path.parts
    ]
    return tuple(read_module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths)


def read_module(path: str, text: str) -> Module:
    """A file as a tree. SyntaxError when it is not Python."""
    return Module(path, ast.parse(text, path))


def walk_imports(module: Module) -> Iterator[Import]:
    """Every import of the file, also inside functions and under TYPE_CHECKING; relative ones are made absolute."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, (), alias.asname or alias.name)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            if not node.level:
                yield Import(node.lineno, node.module or "", names)
                continue
            base = module.package[: len(module.package) - node.level + 1]
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield Import(node.lineno, name, names, relative=True)


def read_dotted(node: ast.AST) -> str:
    """`a.b.c` for a name or a chain of attributes, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := read_dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""
