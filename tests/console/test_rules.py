"""The pages of the rules: the whole life of a version by two people at two browsers, and what each may not do."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from console.rules import REPLAYED_HERE
from pipeline.bootstrap import Hub
from pipeline.rulesets import list_versions, show_version, version_in_force, write_draft
from tests.console.desk import Desk, sit_down

pytestmark = pytest.mark.anyio

HOSTILE = "</pre><script>alert(1)</script>"


def document(version: str = "v1", hold: str = "hold_flag", **more: object) -> str:
    rule = {"id": "r", "phase": "hold", "when": {"all": []}, "then": {"hold": hold}}
    return json.dumps({"version": version, "rules": [rule], **more})


async def other(hub: Hub, who: str) -> Desk:
    desk = sit_down(hub)
    await desk.log_in(who)
    return desk


async def told(desk: Desk, path: str, **fields: str) -> str:
    """Send a form and return the page it leads to."""
    answer = await desk.send(path, fields)
    assert answer.status_code == 303, answer.text[:300]
    return await desk.text(answer.headers["location"])


async def test_two_people_take_a_version_from_draft_to_force_and_back(hub: Hub, clerk: Desk) -> None:
    before = version_in_force(hub)
    page = await told(clerk, "/rules", do="draft", document=document(), rails='{"holds_up_percent": 100}')
    assert "Not tried on past orders yet" in page
    page = await told(clerk, "/rules/v1", do="replay")
    assert "Orders replayed" in page
    assert str(REPLAYED_HERE) in page
    assert "A second person approves what you wrote" in page
    assert "A second person has to approve it" in await told(clerk, "/rules/v1", do="approve")
    boss = await other(hub, "admin")
    assert 'value="approve"' in await boss.text("/rules/v1")
    await told(boss, "/rules/v1", do="approve")
    await told(clerk, "/rules/v1", do="arm", at="")
    assert version_in_force(hub) == "v1"
    assert "In force" in await boss.text("/rules/v1")
    assert before in await told(boss, "/rules", do="rollback", reason="too many holds")
    assert version_in_force(hub) == before
    assert "too many holds" in await boss.text("/rules/v1")
    await boss.client.aclose()


async def test_broken_rails_ask_for_a_reason(hub: Hub, clerk: Desk) -> None:
    await told(clerk, "/rules", do="draft", document=document(), rails="{}")
    assert "broken" in await told(clerk, "/rules/v1", do="replay")
    boss = await other(hub, "admin")
    assert "Guard rails are broken" in await told(boss, "/rules/v1", do="approve")
    assert "stock-taking" in await told(boss, "/rules/v1", do="approve", reason="stock-taking")
    await boss.client.aclose()


async def test_a_faulty_draft_says_where_and_a_moment_is_read_strictly(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    page = await told(desk, "/rules", do="draft", document=document().replace("hold_flag", "bad code!"), rails="{}")
    assert "rules.0.then" in page
    assert "These are no rules" in await told(desk, "/rules", do="draft", document="{", rails="{}")
    assert "These are no guard rails" in await told(desk, "/rules", do="draft", document=document(), rails="x")
    assert "cannot take that step" in await told(desk, "/rules/v1", do="replay")
    assert "Say until when" in await told(desk, "/rules/v1", do="arm", at="soon")
    assert "There is no version to go back from" in await told(desk, "/rules", do="rollback")
    for path in ("/rules", "/rules/v1"):
        assert (await desk.send(path, {"do": "nonsense"})).status_code in {303, 404}


async def test_what_a_version_says_is_text(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    version = "a/b?c#d <i>"
    page = await told(desk, "/rules", do="draft", document=document(version, note=HOSTILE), rails="{}")
    assert "<i>" not in page
    assert HOSTILE not in page
    assert "a/b?c#d &lt;i&gt;" in page
    assert [row["version"] for row in list_versions(one_hub)] == [version]
    assert "a/b" in await desk.text("/rules")


async def test_who_may_only_read_changes_nothing(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("read")
    assert "textarea" not in await desk.text("/rules")
    for fields in ({"do": "draft", "document": document(), "rails": "{}"}, {"do": "rollback"}):
        assert (await desk.send("/rules", fields)).status_code == 403
    assert (await desk.send("/rules", {"do": "rollback"}, origin="http://elsewhere.test")).status_code == 403
    assert (await desk.get("/rules/nothing")).status_code == 404


async def test_both_languages_have_small_pages(hub: Hub, clerk: Desk) -> None:
    await told(clerk, "/rules", do="draft", document=document(note="x" * 900), rails="{}")
    await told(clerk, "/rules/v1", do="replay")
    for language, word in (("en", "Guard rails"), ("zh", "护栏")):
        await clerk.send("/preferences", {"lang": language})
        for path in ("/rules", "/rules/v1"):
            page = await clerk.text(path)
            assert word in page
            assert len(page.encode()) <= 60 * 1024


ROUTE = {"id": "r", "phase": "route", "when": {"all": []}, "then": {"route": {"warehouses": ["hz"]}}}


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_a_table_goes_down_and_comes_up_as_a_draft(one_hub: Hub, desk: Desk, kind: str) -> None:
    await desk.log_in("clerk")
    version = "a/b?c#d <i>"
    await told(desk, "/rules", do="draft", document=json.dumps({"version": version, "rules": [ROUTE]}), rails="{}")
    page = await desk.text(f"/rules/{quote(version, safe='')}")
    link = f"/rule-tables/route.{kind}/{quote(version, safe='')}"
    assert link in page
    answer = await desk.get(link)
    assert (answer.status_code, answer.headers["content-disposition"]) == (200, f"attachment; filename=route.{kind}")
    up = f"/rule-tables/{quote(version, safe='')}"
    answer = await desk.upload(up, {"phase": "route", "name": "mine"}, "table", answer.content)
    assert (answer.status_code, answer.headers["location"]) == (303, "/rules/mine")
    assert json.loads(show_version(one_hub, "mine")["document"])["rules"] == [ROUTE]


async def test_a_faulty_table_is_told_by_its_cells_and_nothing_is_stored(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("clerk")
    await told(desk, "/rules", do="draft", document=json.dumps({"version": "v1", "rules": [ROUTE]}), rails="{}")
    table = f"id,amounts.paid ge,warehouses\na,{HOSTILE},hz\nb,1,\n".encode()
    answer = await desk.upload("/rule-tables/v1", {"phase": "route"}, "table", table)
    assert answer.status_code == 409
    assert "<code>B2</code>" in answer.text and "<code>C3</code>" in answer.text and HOSTILE not in answer.text
    assert "<code>A1</code>" in (await desk.upload("/rule-tables/v1", {"phase": "route"}, "table", b"")).text
    assert (await desk.upload("/rule-tables/v1", {"phase": "gift"}, "table", b"id\n")).status_code == 303
    assert (await desk.upload("/rule-tables/none", {"phase": "route"}, "table", b"id\n")).status_code == 404
    for path in ("gift.csv/v1", "route.exe/v1", "route.csv/none"):
        assert (await desk.get(f"/rule-tables/{path}")).status_code == 404
    either = {"any": [{"field": "order.virtual", "op": "eq", "value": True}]}
    hold = {"id": "h", "phase": "hold", "when": either, "then": {"hold": "hold_x"}}
    await told(desk, "/rules", do="draft", document=json.dumps({"version": "v2", "rules": [hold]}), rails="{}")
    assert "<code>rules.0</code>" in (await desk.get("/rule-tables/hold.csv/v2")).text
    assert [row["version"] for row in list_versions(one_hub)] == ["v2", "v1"]


async def test_who_may_only_read_uploads_nothing(one_hub: Hub, desk: Desk) -> None:
    write_draft(one_hub, document().encode(), actor="ann")
    await desk.log_in("read")
    assert 'type="file"' not in await desk.text("/rules/v1")
    assert (await desk.upload("/rule-tables/v1", {"phase": "tag"}, "table", b"id,tag\n")).status_code == 403
    assert (await desk.get("/rule-tables/tag.csv/v1")).status_code == 200
