"""Bulk intake over HTTP: the same orders of three lines, in calls of fifty and one by one, to the hub and to Tryton by turns."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.access import make_key
from pipeline.apply import apply_values
from pipeline.bootstrap import close_hub, open_hub
from pipeline.reconcile import known_orders
from pipeline.settings import Settings

from . import goods
from .processes import answers, free_port, running_hub, wait_until
from .tryton import Erp, build_sale
from .tryton_rpc import build_call, read_result

CLIENTS = 2
PER_CALL = 50
LINES = 3
_ACCOUNT = "shop-0"
# A released order may be cancelled cheaply for so long: until then nothing is sent, and no warehouse is missed.
_DELAY_SECONDS = 3600.0
_READY_SECONDS = 60.0
_CALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where posts go: a path of a server on loopback and what every call carries."""

    port: int
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Post:
    """One prepared call; `own` are headers of this call only."""

    body: bytes
    own: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of some posts: (status, body) in their order, and the seconds from the first byte to the last."""

    answers: list[tuple[int, bytes]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Door:
    """`hub.py serve`, process `pid`, with a partner who may post."""

    port: int
    pid: int
    key: str
    settings: Settings


@contextlib.contextmanager
def serving_hub(folder: Path, database: str) -> Iterator[Door]:
    """The hub as a user runs it, API and timed jobs in one process, with the trade of the benchmarks and its thirty rules."""
    settings = Settings(data_folder=folder, database_url=database, delay_seconds=_DELAY_SECONDS)
    hub = open_hub(settings)
    try:
        trade = goods.trade()
        trade["accounts"][0]["partner"] = "peer"
        (folder / "rules.json").write_text(json.dumps(goods.ruleset()))
        extra = {"partners": [{"name": "peer"}], "ruleset": {"file": "rules.json"}}
        apply_values(hub, trade | extra, folder=folder)
        key = make_key(hub, "peer", "partner", "peer")
    finally:
        close_hub(hub)
    port, log = free_port(), folder / "serve.log"
    with running_hub(settings, "serve", "--port", str(port), log=log) as process:
        wrong = wait_until(lambda: answers(port), process, log, seconds=_READY_SECONDS)
        if wrong:
            raise RuntimeError(f"the hub does not serve: {wrong}")
        yield Door(port, process.pid, key, settings)


def documents(count: int, seed: int, first: int) -> list[bytes]:
    """`count` orders of three lines each, numbered from `first`; three in a hundred need a person."""
    return [body for *_, body in goods.documents(count, seed, first=first, lines=(LINES,))]


def post_to_hub(door: Door, orders: Sequence[bytes], per_call: int) -> tuple[float, list[str]]:
    """Post them; orders per second, and what was not acknowledged as stored."""
    posts = []
    for at in range(0, len(orders), per_call):
        part = orders[at : at + per_call]
        body = part[0] if per_call == 1 else b'{"orders":[' + b",".join(part) + b"]}"
        posts.append(Post(body, {"idempotency-key": f"{per_call}-{json.loads(part[0])['external_id']}"}))
    headers = {"content-type": "application/json", "authorization": f"Bearer {door.key}"}
    path = "/v1/orders" if per_call == 1 else "/v1/orders:batch"
    sent = send_all(Target(door.port, path, headers), posts)
    stored = [_stored(status, body, many=per_call > 1) for status, body in sent.answers]
    return len(orders) / sent.seconds, _missed("hub", stored, len(orders), sent)


def post_to_tryton(erp: Erp, orders: Sequence[bytes], per_call: int) -> tuple[float, list[str]]:
    """The same for Tryton: `sale.sale.create` with so many sales a call."""
    sales = [build_sale(erp, json.loads(each)) for each in orders]
    parts = [sales[at : at + per_call] for at in range(0, len(sales), per_call)]
    posts = [Post(build_call("model.sale.sale.create", part, erp.session.context), {}) for part in parts]
    sent = send_all(Target(erp.port, erp.session.path, erp.session.headers()), posts)
    stored = [len(read_result(status, body)) for status, body in sent.answers]
    return len(orders) / sent.seconds, _missed("tryton", stored, len(orders), sent)


def count_in_hub(door: Door) -> int:
    """How many orders the hub has of this partner, read from its database."""
    hub = open_hub(door.settings)
    try:
        return sum(1 for _ in known_orders(hub, _ACCOUNT))
    finally:
        close_hub(hub)


def count_in_tryton(erp: Erp) -> tuple[int, int]:
    """How many sales Tryton has, and how many lines."""
    return erp.session.ask("sale.sale", "search_count", []), erp.session.ask("sale.line", "search_count", [])


def send_all(target: Target, posts: Sequence[Post], clients: int = CLIENTS) -> Sent:
    """Send prepared posts, each client the next one when its last is answered, and keep the answers for later: nothing but
    sending and receiving is inside the time."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(posts)
    faults: list[Exception] = []
    work = iter(range(len(posts)))
    turn = threading.Lock()

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=_CALL_SECONDS)
        try:
            while (number := _next(work, turn)) is not None:
                connection.request("POST", target.path, posts[number].body, {**target.headers, **posts[number].own})
                answer = connection.getresponse()
                answers[number] = (answer.status, answer.read())
        except (OSError, http.client.HTTPException) as fault:
            faults.append(fault)
        finally:
            connection.close()

    seconds = timed(run, clients)
    if faults:
        raise faults[0]
    return Sent(answers, seconds)


def timed(run: Callable[[], None], clients: int) -> float:
    """Seconds until so many threads that do the same are done."""
    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _next(work: Iterator[int], turn: threading.Lock) -> int | None:
    with turn:
        return next(work, None)


def _stored(status: int, body: bytes, *, many: bool) -> int:
    if not many:
        return int(status == 201)
    return sum(entry["status"] == 201 for entry in json.loads(body)["results"]) if status == 200 else 0


def _missed(side: str, stored: Sequence[int], orders: int, sent: Sent) -> list[str]:
    if sum(stored) == orders:
        return []
    worst = min(range(len(stored)), key=stored.__getitem__)
    status, body = sent.answers[worst]
    return [f"{side}: {orders - sum(stored)} of {orders} not stored; {status} {body[:200].decode(errors='replace')}"]
