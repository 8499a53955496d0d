"""A list with a filter looks at a window of orders, a short one first, and says where it ended."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from storage.order_lists import list_newest_orders
from storage.tables import orders

from .conftest import NOW, Store

TEXTS = ("source_status", "payment", "currency", "version", "country", "region")
NUMBERS = (
    "goods",
    "freight",
    "tax",
    "discount",
    "paid",
    "source_time",
    "placed_at",
    "inbox_id",
    "event_seq",
    "revision",
)


def row(row_id: int, account_id: int, status: str) -> dict[str, Any]:
    return dict.fromkeys(TEXTS, "x") | dict.fromkeys(NUMBERS, 0) | {
        "id": row_id,
        "number": f"PA{row_id}",
        "account_id": account_id,
        "external_id": str(row_id),
        "status": status,
        "blocked": False,
        "verdicts": "[]",
        "tags": "[]",
        "private": b"",
        "event_hash": b"",
        "created_at": NOW,
        "updated_at": NOW,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "window", "limit"), [(None, 50, 7), (90, 50, 7), (90, 50, 40), (30, 50, 9), (200, 9, 3), (5, 1, 2)]
)
def test_a_page_is_what_its_window_holds(store: Store, before: int | None, window: int, limit: int) -> None:
    stored = [
        (n, 1 + (n % 3 == 0), "closed" if n % 17 == 0 else "shipped") for n in range(1, 120)
    ]  # of the second account a third, and one in seventeen is closed
    with store.write() as tx:
        tx.execute(insert(orders), [row(*each) for each in stored])
        looked = [each for each in reversed(stored) if before is None or each[0] < before]
        for status, account in (("closed", None), ("shipped", None), ("", 2), ("closed", 2), ("completed", None)):
            found, floor = list_newest_orders(
                tx, before=before, status=status, account_id=account, ids=None, window=window, limit=limit
            )
            wanted = [
                each[0] for each in looked[:window] if status in {"", each[2]} and account in {None, each[1]}
            ]  # everything that the whole window holds
            assert [each["id"] for each in found] == wanted[:limit]
            if len(found) < limit:
                assert floor == (looked[window - 1][0] if len(looked) >= window else None)
            else:
                assert floor is None or floor <= found[-1]["id"]
