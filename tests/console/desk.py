"""A browser without a screen: keeps cookies, finds the token of a page's forms, and sends them as a browser would."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from console.app import create_console
from pipeline.bootstrap import Hub
from tests.console.seeds import KEYS

ORIGIN = "http://console.test"
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')
_REF = re.compile(r'<tr data-ref="(EX\w+)"')


@dataclass(slots=True)
class Desk:
    """One person at one browser."""

    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def text(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:400])
        return answer.text

    async def token(self) -> str:
        return token_of((await self.client.get("/login", follow_redirects=True)).text)

    async def send(self, path: str, fields: Mapping[str, str | list[str]], **headers: str) -> httpx.Response:
        """Send a form with the token of this session and the headers of a browser on our own page."""
        told = {"origin": ORIGIN, "sec-fetch-site": "same-origin"} | headers
        data = {"csrf": await self.token()} | dict(fields)
        return await self.client.post(path, data=data, headers=told)

    async def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> httpx.Response:
        """Send a form with a file in the field `name`."""
        told = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        data = {"csrf": await self.token()} | dict(fields)
        return await self.client.post(path, data=data, files={name: ("table", content)}, headers=told)

    async def log_in(self, who: str) -> httpx.Response:
        return await self.send("/login", {"key": KEYS[who], "next": "/"})

    async def refs(self, code: str, state: str = "") -> list[str]:
        return _REF.findall(await self.text(f"/exceptions?code={code}&state={state}"))

    async def ref_of(self, code: str) -> str:
        (ref,) = await self.refs(code)
        return ref


def sit_down(hub: Hub, *, scheme: str = "http", client: tuple[str, int] = ("127.0.0.1", 1)) -> Desk:
    origin = ORIGIN.replace("http", scheme, 1)
    transport = httpx.ASGITransport(app=create_console(hub), client=client)
    return Desk(httpx.AsyncClient(transport=transport, base_url=origin))


def token_of(page: str) -> str:
    found = _TOKEN.search(page)
    assert found, page[:500]
    return html.unescape(found[1])
