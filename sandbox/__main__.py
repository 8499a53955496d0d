"""`python -m sandbox`: serve the other side on loopback until stdin closes, SIGTERM comes or the parent is gone.

Prints one JSON line with the addresses and credentials first, nothing afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from functools import partial

import uvloop

from .catalog import DEFAULT_KINDS
from .control import Control
from .faults import PROFILES
from .http11 import listen
from .world import Settings, World, make_world

TAOBAO_SHARE = 0.7


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Simulated channels and warehouses on loopback."
    )
    parser.add_argument("--seed", default="1")
    parser.add_argument("--faults", choices=list(PROFILES), default="none")
    parser.add_argument("--mix", choices=("full", "plain"), default="full")
    parser.add_argument("--orders", type=int, default=0, help="orders placed at start, 70%% taobao, 30%% shopify")
    parser.add_argument(
        "--kinds",
        default=",".join(f"{code}={kind}" for code, kind in DEFAULT_KINDS.items()),
        help="warehouses and how they treat a repeated code: rejects, keyed, findable, unsafe",
    )
    parser.add_argument("--tempo", type=float, default=1.0, help="stretches the pauses between an order's events")
    parser.add_argument("--hang-seconds", type=float, default=5.0)
    parser.add_argument(
        "--shopify-restore", type=float, default=2000.0, help="points per second; the bucket holds ten times that"
    )
    parser.add_argument("--ship-after", default="0.05,0.3", help="seconds from accepting to shipping: low,high")
    parser.add_argument(
        "--news-batch", type=int, default=1, help="confirms of one warehouse told in one message, at most"
    )
    parser.add_argument("--parent", type=int, default=0, help="stop when this process is no longer the parent")
    for name in ("taobao", "shopify", "qimen", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0)
    return parser.parse_args(argv)


def settings_of(args: argparse.Namespace) -> Settings:
    """The run's settings. Raises ValueError."""
    kinds = tuple((code, kind) for code, _, kind in (part.partition("=") for part in args.kinds.split(",")))
    low, high = (float(part) for part in args.ship_after.split(","))
    return Settings(
        args.seed,
        args.faults,
        args.mix,
        kinds,
        args.tempo,
        args.hang_seconds,
        args.shopify_restore,
        args.shopify_restore * 10,
        (low, high),
        max(1, args.news_batch),
    )


def describe(world: World, urls: dict[str, str]) -> dict[str, object]:
    """What the first line says."""
    gateway, service = world.gateway, world.service
    return {
        "seed": world.settings.seed,
        "taobao": {
            "url": f"{urls['taobao']}/router/rest",
            "app_key": gateway.app_key,
            "app_secret": gateway.app_secret,
            "session": gateway.session,
        },
        "shopify": {
            "url": urls["shopify"],
            "token": world.admin.token,
            "webhook_secret": world.hooks.secret,
            "version": "2026-07",
        },
        "qimen": {
            "url": f"{urls['qimen']}/router/qimen/service",
            "app_key": service.app_key,
            "secret": service.secret,
            "customer_id": service.customer_id,
            "owner_code": "OWNER1",
            "warehouses": [
                {
                    "code": site.code,
                    "name": site.name,
                    "kind": site.kind,
                    "province": site.province,
                    "city": site.city,
                    "district": site.district,
                    "address": site.address,
                    "contact": site.contact,
                    "phone": site.phone,
                }
                for site in service.wms.sites.values()
            ],
        },
        "control": urls["control"],
    }


async def serve(args: argparse.Namespace) -> None:
    """Open the four ports, say where they are, run until told to stop."""
    world = make_world(settings_of(args))
    handlers = {
        "taobao": world.gateway.handle,
        "shopify": world.admin.handle,
        "qimen": world.service.handle,
        "control": Control(world).handle,
    }
    urls, servers = {}, []
    for name, handler in handlers.items():
        server, urls[name] = await listen(handler, partial(world.clock.http_date, name), getattr(args, f"{name}_port"))
        servers.append(server)
    first = int(args.orders * TAOBAO_SHARE)
    world.place("taobao", first, args.seed, None)
    world.place("shopify", args.orders - first, args.seed, None)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_stdin(loop, stop)
    print(json.dumps(describe(world, urls), ensure_ascii=False), flush=True)
    while not stop.is_set():
        if args.parent and os.getppid() != args.parent:
            break
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue
    for server in servers:
        server.close()


def watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop at the end of stdin; what is written to it is ignored. A terminal or a file is not watched."""

    def drain() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    try:
        if not os.isatty(0):
            loop.add_reader(0, drain)
    except (OSError, ValueError):
        return


def main() -> None:
    """The process: few collections, because nothing here makes cycles on the hot path."""
    gc.set_threshold(50_000, 50, 100)
    uvloop.run(serve(arguments(sys.argv[1:])))
    os._exit(0)  # open connections and unsent news must not hold the process


if __name__ == "__main__":
    main()
