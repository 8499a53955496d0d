"""What tests with a clock of their own share."""

from __future__ import annotations

# A node number that is held until then (Unix milliseconds, 2086): a test's clock jumps over any lease.
FAR_MS = 3_690_000_000_000
