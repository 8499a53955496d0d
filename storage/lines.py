"""Many statements to PostgreSQL in one go, by libpq itself: psycopg's own pipeline sends each with a call and a wait of its own,
which costs more than a statement about a few rows. All of them are told to libpq first, leave in as few pieces as the network
takes, and then their answers are read. Each is prepared once per connection."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from itertools import count as counted
from typing import Any, cast

from psycopg import OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection

READ_ONLY = "hub_read"
_PREPARED = "prepared here"
_MOST = 400  # statements kept by the server for one connection
_MARK = re.compile(r"%\((\w+)\)s|%s|%%")
_TEXT, _BINARY = 0, 1
_TEXT_OID, _BYTES_OID = 25, 17
_ARRAY, _SIZE, _NONE = struct.Struct(">iiiii"), struct.Struct(">i"), b"\xff\xff\xff\xff"
_NUMBERS = counted(1)

# The text of a statement with its marks, and their values by name or by place.
Said = tuple[str, Mapping[str, Any] | Sequence[Any]]
Answer = list[tuple[Any, ...]]


def converse(tx: Connection, said: Sequence[Said]) -> list[Answer]:
    """Say these in this order, inside the transaction, and read all answers: the rows of each. The error of the first that fails
    is raised as the driver's; those after it were not done. No COPY."""
    reader = Transformer(cast(Any, tx.connection.driver_connection))
    return [_rows(reader, result) for result in _results(tx, said)]


def change(tx: Connection, said: Sequence[Said]) -> int:
    """The same for statements that change rows; how many rows that were."""
    return sum([result.command_tuples or 0 for result in _results(tx, said)])


def _results(tx: Connection, said: Sequence[Said]) -> list[Any]:
    line: Any = tx.connection.driver_connection
    known: dict[str, bytes] = tx.info.setdefault(_PREPARED, {})
    fresh: list[str] = []
    # READ COMMITTED gives each question a view of its own anyway: where nothing is written there is nothing to begin and to commit.
    reads = tx.get_execution_options().get(READ_ONLY, False)
    try:
        return _send(line, said, known, fresh, begin=not reads)
    except InvalidSqlStatementName:
        known.clear()  # somebody else has the server forget all of them
        raise
    except BaseException:
        # Which of them the server has prepared is not known: they are prepared anew, under other names.
        for text in fresh:
            known.pop(text, None)
        raise


def forget_prepared(tx: Connection) -> None:
    """What this connection has prepared is gone: psycopg has the server forget all it prepared itself, and so all there is, after
    a transaction that was rolled back."""
    tx.info.pop(_PREPARED, None)


def _send(line: Any, said: Sequence[Said], known: dict[str, bytes], fresh: list[str], *, begin: bool) -> list[Any]:
    """One result for each statement."""
    pg = line.pgconn
    told = [(text, *_dumped(line, text, values)) for text, values in said]
    answers: list[bool] = []
    pg.enter_pipeline_mode()
    try:
        if begin and pg.transaction_status == TransactionStatus.IDLE:
            pg.send_query_params(b"BEGIN", None)
            answers.append(False)
        for text, values, formats in told:
            name = known.get(text)
            if name is None and len(known) < _MOST:
                name = known[text] = f"hub_{next(_NUMBERS)}".encode()
                fresh.append(text)
                pg.send_prepare(name, _numbered(text)[0])
                answers.append(False)
            if name is None:
                pg.send_query_params(_numbered(text)[0], values, param_formats=formats, result_format=_BINARY)
            else:
                pg.send_query_prepared(name, values, formats, _BINARY)
            answers.append(True)
        pg.pipeline_sync()
        results = line.wait(_exchange(pg))
    except BaseException:
        line.close()  # what it has still to say is nobody's any more
        raise
    pg.exit_pipeline_mode()
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    return [result for result, asked in zip(results, answers, strict=True) if asked]


def _exchange(pg: Any) -> Generator[Wait, Ready, list[Any]]:
    """Send what libpq holds and read until the end of the pipeline; waits are the driver's, which also notices a broken line."""
    while pg.flush():
        if (yield Wait.RW) & Ready.R:
            pg.consume_input()
    results: list[Any] = []
    while True:
        while pg.is_busy():
            if (yield Wait.R):
                pg.consume_input()
        result = pg.get_result()
        if result is None:  # stands between two statements
            if pg.status != ConnStatus.OK:
                raise OperationalError("the connection was lost")
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


def _rows(reader: Any, result: Any) -> Answer:
    if not result.ntuples:
        return []
    reader.set_pgresult(result)
    return cast(Answer, reader.load_rows(0, result.ntuples, tuple))


@cache
def _numbered(text: str) -> tuple[bytes, tuple[str, ...] | None]:
    """The text with marks as the server numbers them, and their names in that order, None where they have none."""
    names: dict[str, int] = {}
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == "%%":
            return "%"
        name = found[1]
        if name is None:
            count += 1
            return f"${count}"
        return f"${names.setdefault(name, len(names) + 1)}"

    query = _MARK.sub(mark, text).encode()
    return query, tuple(names) if names else None


def _dumped(line: Any, text: str, values: Mapping[str, Any] | Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    names = _numbered(text)[1]
    if isinstance(values, Mapping):
        values = [values[name] for name in names or ()]
    told: list[bytes | None] = []
    formats: list[int] = []
    for value in values:
        dump = _DUMPS.get(type(value))
        if dump is not None:
            data, form = dump(value)
        else:
            dumper = Transformer(line).get_dumper(value, PyFormat.TEXT)
            data, form = bytes(dumper.dump(value) or b""), int(dumper.format)
        told.append(data)
        formats.append(form)
    return told, formats


def _list(values: list[Any]) -> tuple[bytes, int]:
    """An array of integers, truth values, texts or bytes."""
    first = next((value for value in values if value is not None), 0)
    if isinstance(first, (str, bytes)):
        texts = isinstance(first, str)
        parts = [None if value is None else value.encode() if texts else value for value in values]
        head = _ARRAY.pack(1, None in parts, _TEXT_OID if texts else _BYTES_OID, len(parts), 1)
        return b"".join([head, *(_NONE if part is None else _SIZE.pack(len(part)) + part for part in parts)]), _BINARY
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}".encode(), _TEXT


# Texts go as bytes, which the server checks: as text libpq would end them at a zero byte.
_DUMPS: Mapping[type, Callable[[Any], tuple[bytes | None, int]]] = {
    int: lambda value: (str(value).encode(), _TEXT),
    bool: lambda value: (b"t" if value else b"f", _TEXT),
    str: lambda value: (value.encode(), _BINARY),
    bytes: lambda value: (value, _BINARY),
    type(None): lambda _: (None, _TEXT),
    list: _list,
}
