"""The questions a claim asks about parcels are index ranges: they do not grow with the orders there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, event

from storage import merges
from storage import tables as t

ROW = {"id": 1, "state": "ready", "merge_key": b"k", "merge_id": None}


@pytest.fixture
def asked() -> Iterator[tuple[Connection, list[tuple[str, object]]]]:
    engine = create_engine("sqlite://")
    t.metadata.create_all(engine)
    seen: list[tuple[str, object]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _u: object, statement: str, parameters: object, *_more: object) -> None:
        seen.append((statement, parameters))

    with engine.connect() as tx:
        yield tx, seen
    engine.dispose()


def test_no_question_scans_a_table(asked: tuple[Connection, list[tuple[str, object]]]) -> None:
    tx, seen = asked
    marked = merges.about_marked(tx, [1, 2])
    tx.execute(marked.query, dict(marked.values))
    merges.load_waiting(tx, b"k")
    merges.list_waiting_pushes(tx, b"k", token=1)
    merges.lock_waiting_pushes(tx, b"k", token=1)
    merges.load_members(tx, [1])
    merges.load_merges(tx, [1])
    merges.find_merges(tx, ["MG-1"])
    merges.list_mates(tx, 5)
    merges.member_states(tx, [1, 2])
    merges.list_company(tx, ROW)
    merges.list_company(tx, ROW | {"state": "pushing", "merge_id": 4})
    raw = tx.connection.driver_connection
    assert raw is not None
    for statement, parameters in list(seen):
        steps = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert not [step for step in steps if step.startswith("SCAN") and "VIRTUAL" not in step], (statement, steps)
    assert len(seen) == 11
