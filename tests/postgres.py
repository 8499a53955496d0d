"""A real PostgreSQL for tests: see `bench.postgres`."""

from __future__ import annotations

from bench.postgres import FAST, Server, copy_folder, find_binaries, init_folder, run_server, start_server

__all__ = ["FAST", "Server", "copy_folder", "find_binaries", "init_folder", "run_server", "start_server"]
