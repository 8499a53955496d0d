"""What is known of our SKUs besides their stock: weight, volume, whose they are, classes that rules speak of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from .asking import Question, ask_rows
from .many import among, bind_values
from .rows import Row, chunks, upsert_rows
from .tables import goods


@cache
def _of_skus(dialect: str) -> Select[Any]:
    return select(goods).where(among(dialect, goods.c.sku)).order_by(goods.c.sku)


def load_goods_rows(tx: Connection, skus: Iterable[str]) -> dict[str, Row]:
    """Rows of the SKUs that are known, `classes` as a list."""
    rows = [row for question in about_goods(tx, skus) for row in ask_rows(tx, question)]
    return {row["sku"]: row | {"classes": json.loads(row["classes"])} for row in rows}


def about_goods(tx: Connection, skus: Iterable[str]) -> list[Question]:
    """What `load_goods_rows` asks."""
    query = _of_skus(tx.dialect.name)
    return [Question(query, bind_values(tx, chunk)) for chunk in chunks(sorted(set(skus)))]


def put_goods_rows(tx: Connection, rows: Sequence[Row]) -> None:
    """Store goods: sku, title, weight_grams, volume_ml, supplier, classes (a list), updated_at (µs). In the order of SKUs,
    because two writers may have the same ones."""
    full = [row | {"classes": json.dumps(sorted(set(row["classes"])), ensure_ascii=False)} for row in rows]
    upsert_rows(tx, goods, sorted(full, key=lambda row: str(row["sku"])))
