"""What people do in the console changes what is stored, once, and says what came of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from pipeline.bootstrap import Hub
from pipeline.console_details import exception_detail, order_detail
from pipeline.console_views import list_open, list_orders_page
from pipeline.review import wake_snoozed
from tests.console.desk import Desk, sit_down
from tests.console.seeds import NOW, order_document, post

pytestmark = pytest.mark.anyio


def _number(hub: Hub, external_id: str) -> str:
    (row,) = list_orders_page(hub, text=external_id).rows
    return str(row["number"])


def _codes(hub: Hub, external_id: str) -> set[str]:
    order = order_detail(hub, _number(hub, external_id))
    return {row["code"] for row in order["exceptions"] if row["state"] != "resolved"}


async def test_the_suggested_fix_shows_before_and_after_and_releases_the_order(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("address_unknown_region")
    page = await clerk.text(f"/exceptions?at={ref}")
    assert "<del>渝北区</del>" in page and "<ins>两江新区</ins>" in page
    path = "consignee.district"
    answer = await clerk.send(f"/exceptions/{ref}", {"do": "fix", f"was:{path}": "渝北区", f"fix:{path}": "两江新区"})
    assert answer.status_code == 303
    assert "Resolved." in await clerk.text(answer.headers["location"])
    order = order_detail(hub, _number(hub, "PO-REGION"))
    assert order["consignee"]["district"] == "两江新区"
    assert [row["state"] for row in order["fulfilments"] if row["state"] != "cancelled"] == ["ready"]


async def test_several_candidates_are_offered_and_none_is_chosen_by_one_key(clerk: Desk) -> None:
    ref = await clerk.ref_of("address_incomplete")
    page = await clerk.text(f"/exceptions?at={ref}")
    assert "南京市" in page and "徐州市" in page
    assert 'data-key="1"' in page and 'data-key="2"' in page and 'data-key="a"' not in page


async def test_fields_are_fixed_in_place_and_untouched_ones_stay(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    fields = {field["path"]: field["value"] for field in exception_detail(hub, ref)["fields"]}
    sent = {f"was:{path}": value for path, value in fields.items()} | {f"fix:{p}": v for p, v in fields.items()}
    answer = await clerk.send(f"/exceptions/{ref}", sent | {"do": "fix", "fix:consignee.phone": "13912345678"})
    assert "at=" not in answer.headers["location"] and not _codes(hub, "PO-PHONE")
    order = order_detail(hub, _number(hub, "PO-PHONE"))
    assert [fix["path"] for fix in order["corrections"]] == ["consignee.phone"]
    assert order["consignee"]["phone"] == "139****5678"


async def test_a_form_in_which_nothing_was_changed_does_nothing(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    same = {"do": "fix", "was:consignee.city": "杭州市", "fix:consignee.city": "杭州市"}
    answer = await clerk.send(f"/exceptions/{ref}", same)
    assert "Nothing was changed." in await clerk.text(answer.headers["location"])
    assert _codes(hub, "PO-PHONE") == {"phone_invalid"}


async def test_a_field_that_may_not_be_corrected_is_refused(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    for path in ("amounts.paid", "lines.0.quantity", "lines.99.external_sku", "consignee.token", "__class__"):
        answer = await clerk.send(f"/exceptions/{ref}", {"do": "fix", f"fix:{path}": "1"})
        assert "This field cannot be corrected." in await clerk.text(answer.headers["location"])
    assert _codes(hub, "PO-PHONE") == {"phone_invalid"}


async def test_release_waves_a_remark_through_and_the_log_says_who(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("hold_remark")
    await clerk.send(f"/exceptions/{ref}", {"do": "release", "note": "seen, ship it"})
    order = order_detail(hub, _number(hub, "PO-REMARK"))
    assert [row["state"] for row in order["fulfilments"]] == ["ready"]
    told = {event["kind"]: (event["actor"], dict(event["told"])) for event in order["events"]}
    assert told["review_release"][0] == "key:clerk" and told["review_release"][1]["note"] == "seen, ship it"
    assert order["whole"]


async def test_what_is_missing_cannot_be_waved_through(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("sku_unmapped")
    answer = await clerk.send(f"/exceptions/{ref}", {"do": "release"})
    assert "cannot be waved through" in await clerk.text(answer.headers["location"])
    assert _codes(hub, "PO-SKU") == {"sku_unmapped"}


async def test_cancel_closes_the_order(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("out_of_stock")
    await clerk.send(f"/exceptions/{ref}", {"do": "cancel", "note": "customer asked"})
    order = order_detail(hub, _number(hub, "PO-STOCK"))
    assert order["status"] == "closed" and not order["open"]


async def test_two_people_cannot_both_resolve_one_exception(hub: Hub, clerk: Desk) -> None:
    other = sit_down(hub)
    await other.log_in("admin")
    ref = await clerk.ref_of("hold_remark")
    answers = await asyncio.gather(*(desk.send(f"/exceptions/{ref}", {"do": "release"}) for desk in (clerk, other)))
    pages = [await desk.text(a.headers["location"]) for desk, a in zip((clerk, other), answers, strict=True)]
    assert sorted("Resolved." in page for page in pages) == [False, True]
    assert sum("Somebody else has resolved it already." in page for page in pages) == 1
    events = order_detail(hub, _number(hub, "PO-REMARK"))["events"]
    assert sum(event["kind"] == "review_release" for event in events) == 1
    await other.client.aclose()


async def test_snoozed_goes_away_and_comes_back(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    await clerk.send(f"/exceptions/{ref}", {"do": "snooze", "until": "4h"})
    assert await clerk.refs("phone_invalid") == []
    assert await clerk.refs("", state="snoozed") == [ref]
    hub.clock = lambda: NOW + timedelta(hours=4)
    wake_snoozed(hub)
    assert [row["ref"] for row in list_open(hub, code="phone_invalid").rows] == [ref]


async def test_assign_gives_it_to_me_and_mine_shows_it(hub: Hub, clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    await clerk.send(f"/exceptions/{ref}", {"do": "assign", "assignee": "me"})
    page = await clerk.text("/exceptions?assignee=me")
    assert f'data-ref="{ref}"' in page and page.count("<tr data-ref=") == 1


async def test_many_at_once_have_a_result_each(hub: Hub, clerk: Desk) -> None:
    refs = [row["ref"] for row in list_open(hub).rows]
    answer = await clerk.send("/exceptions/bulk", {"do": "release", "ref": [*refs, "EX-nonsense"], "note": "monday"})
    assert answer.status_code == 200
    results = answer.text.partition('class="results"')[2].partition("</section>")[0]
    assert results.count("<li>") == len(refs) + 1
    assert results.count("Resolved.") >= 3 and "cannot be waved through" in results
    assert "There is no such thing." in results
    assert _codes(hub, "PO-REMARK") == set() and _codes(hub, "PO-SKU") == {"sku_unmapped"}


async def test_after_one_is_done_the_next_one_is_shown(hub: Hub, clerk: Desk) -> None:
    first, second = (row["ref"] for row in list_open(hub).rows[:2])
    page = await clerk.text(f"/exceptions?at={first}")
    assert f'name="advance" value="{second}"' in page
    answer = await clerk.send(f"/exceptions/{first}", {"do": "snooze", "until": "1h", "advance": second})
    assert answer.headers["location"] == f"/exceptions?at={second}"


async def test_a_document_that_is_no_order_can_be_dismissed(hub: Hub, clerk: Desk) -> None:
    (ref,) = [row["ref"] for row in list_open(hub).rows if row["order"] is None]
    page = await clerk.text(f"/exceptions?at={ref}")
    assert "PO-BAD" in page
    await clerk.send(f"/exceptions/{ref}", {"do": "dismiss", "note": "test order"})
    assert exception_detail(hub, ref)["state"] == "resolved"


async def test_an_order_is_cancelled_from_its_page(hub: Hub, clerk: Desk) -> None:
    number = _number(hub, "PO-FINE")
    await clerk.send(f"/orders/{number}", {"do": "cancel", "note": "double"})
    assert order_detail(hub, number)["status"] == "closed"


async def test_an_order_is_released_from_its_page(hub: Hub, clerk: Desk) -> None:
    number = _number(hub, "PO-REMARK")
    await clerk.send(f"/orders/{number}", {"do": "release"})
    assert _codes(hub, "PO-REMARK") == set()


async def test_unmasking_needs_the_right_and_is_in_the_log(hub: Hub, clerk: Desk) -> None:
    number = _number(hub, "PO-FINE")
    page = await clerk.text(f"/orders/{number}")
    assert "王小明" not in page and "13800138000" not in page and "王**" in page
    for what in ("unmask", "documents"):
        assert (await clerk.send(f"/orders/{number}", {"do": what})).status_code == 403
    assert not [event for event in order_detail(hub, number)["events"] if event["kind"] == "unmasked"]
    admin = sit_down(hub)
    await admin.log_in("admin")
    shown = (await admin.send(f"/orders/{number}", {"do": "unmask"})).text
    assert "王小明" in shown and "13800138000" in shown
    events = order_detail(hub, number)["events"]
    assert [event["actor"] for event in events if event["kind"] == "unmasked"] == ["key:admin"]
    await admin.client.aclose()


async def test_source_documents_show_what_changed_between_versions(hub: Hub) -> None:
    newer = order_document("PO-FINE", updated_at="2026-11-21T19:50:00+08:00", ship_to={"street": "文三路1号"})
    post(hub, [newer])
    admin = sit_down(hub)
    await admin.log_in("admin")
    shown = (await admin.send(f"/orders/{_number(hub, 'PO-FINE')}", {"do": "documents"})).text
    assert "+    &#34;street&#34;: &#34;文三路1号&#34;" in shown and "文一西路969号" in shown
    await admin.client.aclose()


async def test_an_action_nobody_knows_is_not_found(clerk: Desk) -> None:
    ref = await clerk.ref_of("phone_invalid")
    for path in (f"/exceptions/{ref}", "/exceptions/bulk", "/orders/PA-1", "/exceptions/EX-1"):
        assert (await clerk.send(path, {"do": "explode", "ref": ref})).status_code in {303, 404}
    assert await clerk.ref_of("phone_invalid") == ref


async def test_an_order_page_merges_takes_apart_and_reroutes_or_says_why_not(hub: Hub, clerk: Desk) -> None:
    number = _number(hub, "PO-REMARK")
    for fields, answer in (
        ({"do": "merge", "other": number}, "An order cannot be merged with itself."),
        ({"do": "unmerge"}, "It shares no parcel."),
        ({"do": "reroute", "other": "nowhere"}, "There is no such warehouse."),
        ({"do": "reroute", "other": ""}, "Done."),
    ):
        reply = await clerk.send(f"/orders/{number}", fields)
        assert answer in await clerk.text(reply.headers["location"])


async def test_what_waits_for_its_time_has_a_button_to_be_sent_at_once(hub: Hub, clerk: Desk) -> None:
    hub.settings = hub.settings.model_copy(update={"delay_seconds": 3600})
    post(hub, [order_document("PO-LATER")])
    path = f"/orders/{_number(hub, 'PO-LATER')}"
    assert 'value="send_now"' in await clerk.text(path)
    reply = await clerk.send(path, {"do": "send_now"})
    page = await clerk.text(reply.headers["location"])
    assert "Done." in page and "sent at once by a person" in page
    assert 'value="send_now"' not in page
    reply = await clerk.send(path, {"do": "send_now"})
    assert "Nothing of it waits for its time." in await clerk.text(reply.headers["location"])
