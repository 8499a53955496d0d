"""One sandbox per test file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .side import Side, running


@pytest.fixture(scope="module")
def side() -> Iterator[Side]:
    """A sandbox with plain orders only and no random faults."""
    with running() as found:
        yield found


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Faults that a test ordered end with it."""
    yield
    if "side" in request.fixturenames:
        request.getfixturevalue("side").control("faults", clear=True)
