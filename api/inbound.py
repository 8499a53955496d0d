"""What warehouses and channels call: authenticated by a signature over the raw bytes, stored before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.bootstrap import Hub
from pipeline.hooks import LONGEST_WAIT, Received, is_prepared, prepare, take_call, take_webhook

# Checking a larger one would hold up the others.
_SMALL = 64 * 1024
_Take = Callable[[Hub, str, Mapping[str, str], Mapping[str, str], bytes], Received]


class Calling:
    """A route that takes callbacks or webhooks, as plain ASGI: the answer comes after the commit that it may share with others.
    The body was read, bounded and decoded by the guard."""

    def __init__(self, hub: Hub, take: _Take) -> None:
        self._hub, self._take = hub, take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = (await receive())["body"]
        take = partial(self._take, self._hub, path.rpartition("/")[2], query, headers, body)
        if len(body) <= _SMALL and is_prepared(self._hub, path):
            received = take()
        else:
            received = await run_in_threadpool(take)
            prepare(self._hub, path)
        for stored in received.stored:
            # Shielded: a caller that hangs up must not cancel what others share.
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(stored)), LONGEST_WAIT)
        status, media, answer = received.answer
        told = (
            [] if status == 204 else [(b"content-length", str(len(answer)).encode()), (b"content-type", media.encode())]
        )
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": answer})


def _take_webhook(
    hub: Hub, account: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
) -> Received:
    del query
    return take_webhook(hub, account, headers, body)


def calling_routes(hub: Hub) -> list[Route]:
    """Routes that FastAPI has no part in; documents.py describes them."""
    return [
        Route("/callbacks/{warehouse}", Calling(hub, take_call), methods=["POST"]),
        Route("/webhooks/{account}", Calling(hub, _take_webhook), methods=["POST"]),
    ]
