"""Conditions on many values at once, bound as one parameter: a list in the text of a statement is written and read anew for
every batch, which takes longer than finding the rows. SQLite takes the values as a JSON array, PostgreSQL as an array."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    TableValuedAlias,
    any_,
    bindparam,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy import column as table_column
from sqlalchemy.dialects.postgresql import ARRAY

_Parameters = dict[str, Any]


@lru_cache(maxsize=256)
def among(dialect: str, column: Column[Any]) -> ColumnElement[bool]:
    """`column` is one of `values` (see `bind_values`). Not for binary columns."""
    if dialect == "sqlite":
        return column.in_(select(func.json_each(bindparam("values")).table_valued("value").c.value))
    return column == any_(bindparam("values", type_=ARRAY(column.type)))


def bind_values(tx: Connection, values: Sequence[Any]) -> _Parameters:
    """The parameter of `among`: integers or texts."""
    return {"values": orjson.dumps(values).decode() if tx.dialect.name == "sqlite" else values}


def each_value(column: Column[Any]) -> TableValuedAlias:
    """The same `values` as rows, each a `value`, to be joined with. PostgreSQL only."""
    given = func.unnest(bindparam("values", type_=ARRAY(column.type)))
    return given.table_valued(table_column("value", column.type)).render_derived()


@lru_cache(maxsize=256)
def among_pairs(dialect: str, first: Column[Any], second: Column[Any]) -> ColumnElement[bool]:
    """(`first`, `second`) is one of `pairs` (see `bind_pairs`); `first` is an integer or a text, `second` may be binary."""
    pair = tuple_(first, second)
    if dialect == "sqlite":
        # Two levels of lists: read once, where pairs would be read one by one and twice each.
        outer = func.json_each(bindparam("pairs")).table_valued("key", "value", joins_implicitly=True)
        inner = func.json_each(outer.c.value).table_valued("value", joins_implicitly=True)
        told = func.unhex(inner.c.value) if isinstance(second.type, LargeBinary) else inner.c.value
        # The names of a JSON object are texts.
        key = cast(outer.c.key, BigInteger) if isinstance(first.type, Integer) else outer.c.key
        return pair.in_(select(key, told))
    given = each_pair(first, second)
    return pair.in_(select(given.c.a, given.c.b))


def each_pair(first: Column[Any], second: Column[Any]) -> TableValuedAlias:
    """The same `pairs` as rows, `a` and `b`, to be joined with. PostgreSQL only."""
    firsts, seconds = bindparam("firsts", type_=ARRAY(first.type)), bindparam("seconds", type_=ARRAY(second.type))
    given = func.unnest(firsts, seconds)
    return given.table_valued(table_column("a", first.type), table_column("b", second.type)).render_derived()


def bind_pairs(tx: Connection, pairs: Sequence[tuple[int | str, str | bytes]]) -> _Parameters:
    """The parameters of `among_pairs`."""
    if tx.dialect.name != "sqlite":
        return {"firsts": [pair[0] for pair in pairs], "seconds": [pair[1] for pair in pairs]}
    told: dict[str, list[str]] = {}
    for first, second in pairs:
        told.setdefault(str(first), []).append(second.hex() if isinstance(second, bytes) else second)
    return {"pairs": orjson.dumps(told).decode()}


def among_triples(dialect: str, first: Column[Any], second: Column[Any], third: Column[Any]) -> ColumnElement[bool]:
    """(`first`, `second`, `third`) is one of `triples` (see `bind_triples`)."""
    triple = tuple_(first, second, third)
    if dialect == "sqlite":
        value = func.json_each(bindparam("triples")).table_valued("value").c.value
        return triple.in_(select(*(func.json_extract(value, f"$[{place}]") for place in range(3))))
    given = func.unnest(
        *(
            bindparam(name, type_=ARRAY(column.type))
            for name, column in zip(("firsts", "seconds", "thirds"), (first, second, third), strict=True)
        )
    ).table_valued("a", "b", "c")
    given = given.render_derived()
    return triple.in_(select(given.c.a, given.c.b, given.c.c))


def bind_triples(tx: Connection, triples: Sequence[tuple[int, str, str]]) -> _Parameters:
    """The parameters of `among_triples`."""
    if tx.dialect.name == "sqlite":
        return {"triples": orjson.dumps(triples).decode()}
    return {name: [each[place] for each in triples] for place, name in enumerate(("firsts", "seconds", "thirds"))}
