"""The pages of the rules: the whole life of a version by two people at two browsers, and what each may not do."""

from __future__ import annotations

import json

import pytest

from console.rules import REPLAYED_HERE
from pipeline.bootstrap import Hub
from pipeline.rulesets import list_versions, version_in_force
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
