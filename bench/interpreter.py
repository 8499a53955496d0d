"""Which of this machine's interpreters of one Python version runs fastest: `make` asks before it builds the environment.

A Python compiled without its profile-guided optimisation, as many a self-made one is, needs an eighth to a quarter more
processor time for the same code as the one that a distribution ships. Runs before anything is installed: only the standard library,
and any Python from 3.11 on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# The one that was asked with stays, unless another is clearly faster: timing is never exact.
MARGIN = 0.9
_PLACES = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
_SECONDS = 20
# What programs here do all day: calls, small objects, dictionaries, text. Prints its least processor time of some rounds.
_WORK = """
import ctypes, sqlite3, ssl, sys, time
class Pair:
    __slots__ = ("a", "b")
    def __init__(self, a, b):
        self.a = a
        self.b = b
    def total(self):
        return self.a + self.b
def work():
    kept, total = {}, 0
    for n in range(30000):
        kept[n & 255] = (n, str(n))
        total += Pair(n, len(kept[n & 255][1])).total()
        total += sum([each for each in (1, 2, 3)])
    return total
best = []
for _ in range(7):
    began = time.process_time()
    work()
    best.append(time.process_time() - began)
print("%d.%d" % sys.version_info[:2], min(best), sys.executable)
"""


def choose(timed: Mapping[str, float], own: str) -> str:
    """The fastest of them, by seconds; `own` when none is faster by more than what chance does."""
    best = min(timed, key=timed.__getitem__, default=own)
    return best if own not in timed or timed[best] < timed[own] * MARGIN else own


def time_of(program: str, version: str) -> float | None:
    """Seconds that the work takes it; None for one that does not start, lacks a module or is another version."""
    command = [program, "-I", "-c", _WORK]
    try:
        done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    told = done.stdout.split()
    return float(told[1]) if len(told) > 2 and told[0] == version else None


def candidates(version: str, path: Iterable[str]) -> list[str]:
    """Programs of that version's name on the path and where distributions put them, each once."""
    found: dict[str, str] = {}
    for folder in (*path, *_PLACES):
        program = Path(folder) / f"python{version}"
        if folder and program.is_file() and os.access(program, os.X_OK):
            found.setdefault(str(program.resolve()), str(program))
    return list(found.values())


def main() -> None:
    """Print the program to build the environment with."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    # Inside an environment the one it was made from: an environment is not made from another.
    own = str(getattr(sys, "_base_executable", "") or sys.executable)
    programs = [own, *candidates(version, os.environ.get("PATH", "").split(os.pathsep))]
    timed = {program: took for program in programs if (took := time_of(program, version)) is not None}
    sys.stdout.write(choose(timed, own) + "\n")


if __name__ == "__main__":
    main()
