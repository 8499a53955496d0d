"""The other side, for demo and tests: a Taobao-like shop, a Shopify-like store and Qimen-like warehouses as real HTTP servers.

Imports nothing of the hub. `start()` runs them in a process of their own; README.md describes every endpoint.
"""

from __future__ import annotations

from .launch import Running, start

__all__ = ["Running", "start"]
