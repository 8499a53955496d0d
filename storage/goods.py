"""What is known of our SKUs besides their stock: weight, volume, whose they are, classes that rules speak of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from .rows import Row, load_rows, upsert_rows
from .tables import goods


def load_goods_rows(tx: Connection, skus: Iterable[str]) -> dict[str, Row]:
    """Rows of the SKUs that are known, `classes` as a list."""
    rows = load_rows(tx, goods, goods.c.sku, skus)
    return {row["sku"]: row | {"classes": json.loads(row["classes"])} for row in rows}


def put_goods_rows(tx: Connection, rows: Sequence[Row]) -> None:
    """Store goods: sku, title, weight_grams, volume_ml, supplier, classes (a list), updated_at (µs). In the order of SKUs,
    because two writers may have the same ones."""
    full = [row | {"classes": json.dumps(sorted(set(row["classes"])), ensure_ascii=False)} for row in rows]
    upsert_rows(tx, goods, sorted(full, key=lambda row: str(row["sku"])))
