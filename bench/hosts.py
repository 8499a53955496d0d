"""Several hosts on one machine: network namespaces joined by a bridge. Needs Linux, root and iproute2."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hosts:
    """`address` of this machine on the bridge; `names` of the namespaces."""

    address: str
    names: tuple[str, ...]
    cables: tuple[str, ...]

    def cut(self, name: str) -> None:
        """Pull the cable of a host: nothing goes in or out, and nobody is told."""
        _run("ip", "link", "set", self.cables[self.names.index(name)], "down")

    def mend(self, name: str) -> None:
        _run("ip", "link", "set", self.cables[self.names.index(name)], "up")


def missing() -> str | None:
    """Why there can be no hosts here; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    name = f"hubtry{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


@contextlib.contextmanager
def hosts(count: int) -> Iterator[Hosts]:
    """So many hosts on a network of their own, until the block ends."""
    number = os.getpid() % 250 + 1
    net, tag = f"10.213.{number}", os.getpid() % 100_000
    bridge, names = f"hb{tag}", tuple(f"hub{tag}n{place}" for place in range(count))
    cables = tuple(f"hv{tag}n{place}" for place in range(count))
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{net}.1/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for place, (name, cable) in enumerate(zip(names, cables, strict=True)):
            inner = f"hw{tag}n{place}"
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", cable, "type", "veth", "peer", "name", inner, "netns", name)
            _run("ip", "link", "set", cable, "master", bridge, "up")
            _run("ip", "-n", name, "addr", "add", f"{net}.{place + 2}/24", "dev", inner)
            _run("ip", "-n", name, "link", "set", inner, "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        yield Hosts(f"{net}.1", names, cables)
    finally:
        for name in names:
            _run("ip", "netns", "del", name, check=False)
        for cable in cables:
            _run("ip", "link", "del", cable, check=False)
        _run("ip", "link", "del", bridge, check=False)


def _run(*words: str, check: bool = True) -> None:
    command: Sequence[str] = words
    subprocess.run(command, check=check, capture_output=not check)
