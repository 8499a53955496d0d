"""One sandbox per test file: its warehouses treat a repeated code in all four ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connectors.side import Side, running


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    """WH01 rejects a repeat, WH02 keeps one, WH03 makes a second, WH04 makes a second and cannot be asked."""
    with running(kinds="WH01=rejects,WH02=keyed,WH03=findable,WH04=unsafe", ship_after="0.02,0.05") as found:
        yield found


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Faults and pauses that a test ordered end with it."""
    yield
    if "side" in request.fixturenames:
        side = request.getfixturevalue("side")
        side.control("faults", clear=True)
        side.control("pause_shipping", paused=False)
