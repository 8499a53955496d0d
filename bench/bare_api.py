"""The floor of `hub.py bench api`: the least an HTTP service can do on the same server and driver. It parses the same JSON and
inserts the same rows, which it was given before, with the same durability; concurrent posts share a commit; it answers after
the commit. It checks, decides, seals and remembers nothing. `python -m bench.bare_api PORT DATABASE`."""

from __future__ import annotations

import asyncio
import pickle
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import psycopg
import uvicorn
from pysqlite3 import dbapi2

# table -> (insert statement with ? marks); order id -> table -> tuples. `stock`: (units, warehouse, SKU) to reserve.
Bundle = dict[str, list[tuple[Any, ...]]]
_STOCK = "update stock set reserved=reserved+? where warehouse_id=? and sku=?"
_MOST = 64


class _Writer:
    """One thread, one connection, one transaction for all posts that wait."""

    def __init__(self, database: str) -> None:
        self.queue: queue.SimpleQueue[tuple[str, asyncio.Future[None]]] = queue.SimpleQueue()
        self.statements: dict[str, str] = {}
        self.bundles: dict[str, Bundle] = {}
        self._database = database
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def load(self, file: str) -> None:
        self.statements, self.bundles = pickle.loads(Path(file).read_bytes())  # noqa: S301 - written by this very run

    def _run(self) -> None:
        save = _on_sqlite(self._database) if self._database.startswith("sqlite") else _on_postgresql(self._database)
        while True:
            batch = [self.queue.get()]
            while len(batch) < _MOST and not self.queue.empty():
                batch.append(self.queue.get())
            rows: Bundle = {}
            for external_id, _ in batch:
                for table, own in self.bundles.get(external_id, {}).items():
                    rows.setdefault(table, []).extend(own)
            save([(_STOCK if t == "stock" else self.statements[t], sorted(own, key=str)) for t, own in rows.items()])
            self._loop.call_soon_threadsafe(_tell, [future for _, future in batch])


def _tell(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


Save = Callable[[list[tuple[str, list[tuple[Any, ...]]]]], None]


def _on_sqlite(url: str) -> Save:
    connection = dbapi2.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("pragma synchronous=full")
    connection.execute("pragma secure_delete=on")

    def save(work: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        connection.execute("begin immediate")
        for statement, rows in work:
            connection.executemany(statement, rows)
        connection.execute("commit")

    return save


def _on_postgresql(url: str) -> Save:
    connection = psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"))

    def save(work: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        with connection.pipeline(), connection.cursor() as cursor:
            for statement, rows in work:
                cursor.executemany(statement.replace("?", "%s"), rows)
            connection.commit()

    return save


class BareApi:
    """An ASGI application without a framework."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._writer: _Writer | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        writer = self._writer = self._writer or _Writer(self._database)
        if scope["path"] == "/rows":
            writer.load(body.decode())
        elif body:
            external_id = orjson.loads(body)["external_id"]
            future = asyncio.get_running_loop().create_future()
            writer.queue.put((external_id, future))
            await future
        reply = b'{"result":"created"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": reply})


def main() -> None:
    """Serve until told to stop."""
    port, database = sys.argv[1:]
    uvicorn.run(
        BareApi(database), port=int(port), log_level="warning", access_log=False, server_header=False, lifespan="off"
    )


if __name__ == "__main__":
    main()
