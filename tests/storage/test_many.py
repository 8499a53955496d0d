"""Many values bound at once find what a list would, on both databases."""

from __future__ import annotations

from sqlalchemy import select

from storage import tables as t
from storage.many import among, among_pairs, bind_pairs, bind_values
from storage.orders import put_tombstone

from .conftest import NOW, Store

ODD = ["plain", "0012", "12", 'quote"\\', "中文 '; --", "[1]", "1e3", "\u2028"]


def test_texts_are_found_as_they_are(store: Store) -> None:
    with store.write() as tx:
        for n, name in enumerate(ODD):
            put_tombstone(tx, {"account_id": n % 2, "external_id": name, "reason": "", "created_at": NOW})
        marks, dialect = t.tombstones.c, tx.dialect.name
        one = select(marks.external_id).where(among(dialect, marks.external_id))
        for wanted in ([], ODD[:1], ODD, [*ODD, "none"]):
            assert set(tx.execute(one, bind_values(tx, wanted)).scalars()) == set(wanted) - {"none"}
        both = select(marks.account_id, marks.external_id).where(
            among_pairs(dialect, marks.account_id, marks.external_id)
        )
        pairs = [(n % 2, name) for n, name in enumerate(ODD)]
        assert {tuple(row) for row in tx.execute(both, bind_pairs(tx, [*pairs, (7, "plain"), (1, "plain")]))} == set(
            pairs
        )


def test_hashes_and_large_numbers_are_found(store: Store) -> None:
    keys = [(2**62 + n, bytes([n, 0, 255, 34])) for n in range(3)]
    columns = t.ruleset_log.c
    with store.write() as tx:
        dialect = tx.dialect.name
        query = select(columns.id).where(among(dialect, columns.id))
        row = {"version": "v", "at": NOW, "actor": "a", "kind": "k", "detail": "{}"}
        tx.execute(t.ruleset_log.insert(), [row | {"id": key} for key, _ in keys])
        assert set(tx.execute(query, bind_values(tx, [key for key, _ in keys])).scalars()) == {key for key, _ in keys}
        orders = t.orders.c
        hashed = select(orders.id).where(among_pairs(dialect, orders.account_id, orders.buyer_hash))
        assert tx.execute(hashed, bind_pairs(tx, keys)).all() == []


def test_pairs_of_texts_are_found_whatever_they_look_like(store: Store) -> None:
    """A source that is a number in quotes is not that number."""
    told = [(name, other) for name in ODD for other in ODD[:3]]
    columns = t.deliveries.c
    with store.write() as tx:
        rows = [{"source": one, "delivery_id": other, "expires_at": NOW} for one, other in told]
        tx.execute(t.deliveries.insert(), rows)
        query = select(columns.source, columns.delivery_id).where(
            among_pairs(tx.dialect.name, columns.source, columns.delivery_id)
        )
        found = {tuple(row) for row in tx.execute(query, bind_pairs(tx, [*told, ("12", "none"), ("none", "12")]))}
    assert found == set(told)
