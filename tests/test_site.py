"""API and console in one process, composed as `hub.py serve` does it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.app import create_app
from console.app import create_console
from pipeline.bootstrap import close_hub, open_hub
from pipeline.settings import Settings


@pytest.mark.anyio
async def test_each_page_of_the_whole_site_has_one_policy_and_the_console_may_load_its_own_style(
    sqlite_url: str, tmp_path: Path
) -> None:
    hub = open_hub(Settings(database_url=sqlite_url, data_folder=tmp_path, console_open=True), migrated=True)
    try:
        site = create_app(hub)
        site.mount("/", create_console(hub))
        transport = httpx.ASGITransport(app=site, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
            page = await browser.get("/exceptions")
            assert page.status_code == 200
            (policy,) = page.headers.get_list("content-security-policy")
            assert "default-src 'self'" in policy
            assert len(page.headers.get_list("x-frame-options")) == 1
            assert (await browser.get("/static/console.css")).status_code == 200
            listing = await browser.get("/v1/orders")
            assert listing.status_code == 401
            (policy,) = listing.headers.get_list("content-security-policy")
            assert "default-src 'none'" in policy
    finally:
        close_hub(hub)
