"""Nothing is changed by a request that one of our own pages did not send (promises.md S14, S28)."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from console.app import create_console
from console.guard import safe_path
from pipeline.bootstrap import Hub
from pipeline.console_views import exception_tabs, list_open
from tests.console.desk import ORIGIN, Desk

pytestmark = pytest.mark.anyio

OURS = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}


def _posts(hub: Hub) -> list[str]:
    row = list_open(hub).rows[0]
    paths = [r.path for r in create_console(hub).routes if isinstance(r, Route) and "POST" in (r.methods or ())]
    return [path.replace("{ref}", row["ref"]).replace("{number}", "PA-1") for path in paths]


async def test_every_form_wants_the_token_of_its_session(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("admin")
    old = await desk.token()
    await desk.send("/logout", {})
    await desk.log_in("admin")
    before = exception_tabs(one_hub)
    for path in _posts(one_hub):
        for token in (None, "", "0" * 64, old, "é"):
            data = {"do": "retry", "key": "x"} | ({} if token is None else {"csrf": token})
            answer = await desk.client.post(path, data=data, headers=OURS)
            assert answer.status_code == 403, (path, token)
    assert exception_tabs(one_hub) == before
    assert (await desk.get("/")).status_code == 200


async def test_every_form_refuses_other_sites_and_other_kinds_of_bodies(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("admin")
    token = await desk.token()
    for path in _posts(one_hub):
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            answer = await desk.client.post(path, data={"csrf": token, "do": "retry"}, headers=headers)
            assert answer.status_code == 403, (path, headers)
        for kind in ("text/plain", "application/json"):
            body = f'{{"csrf": "{token}", "do": "retry"}}'
            answer = await desk.client.post(path, content=body, headers=OURS | {"content-type": kind})
            assert answer.status_code == 403, (path, kind)


async def test_no_get_changes_anything(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("admin")
    for path in _posts(one_hub):
        before = [(row["ref"], row["state"], row["assignee"]) for row in list_open(one_hub).rows]
        for method in ("GET", "HEAD"):
            answer = await desk.client.request(method, f"{path}?do=cancel&lang=zh&key=x")
            assert answer.status_code in {200, 303, 404, 405}, path
        assert [(row["ref"], row["state"], row["assignee"]) for row in list_open(one_hub).rows] == before
    assert (await desk.get("/")).status_code == 200  # still signed in


async def test_a_read_only_key_shows_everything_and_changes_nothing(one_hub: Hub, desk: Desk) -> None:
    await desk.log_in("read")
    ref = await desk.ref_of("phone_invalid")
    page = await desk.text(f"/exceptions?at={ref}")
    assert 'value="retry"' not in page and 'name="ref"' not in page
    for path in (f"/exceptions/{ref}", "/exceptions/bulk"):
        answer = await desk.send(path, {"do": "retry", "ref": [ref]})
        assert answer.status_code == 403
    assert await desk.ref_of("phone_invalid") == ref


async def test_every_answer_carries_the_headers(desk: Desk) -> None:
    for path in ("/", "/login", "/nothing", "/static/console.css", "/exceptions/counts"):
        headers = (await desk.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert (await desk.get("/login")).headers["cache-control"] == "no-store"
    assert "immutable" in (await desk.get("/static/console.css")).headers["cache-control"]


async def test_a_form_that_is_too_large_is_not_read(desk: Desk) -> None:
    answer = await desk.client.post("/login", content=b"x" * (2**20 + 1), headers=OURS)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["//a", "/\\a", "a", "", "http://a", "/a\nb", "/" + "x" * 3000, "/a\\b"])
async def test_only_plain_paths_of_this_site_are_gone_on_to(path: str) -> None:
    assert safe_path(path, "/otherwise") == "/otherwise"
