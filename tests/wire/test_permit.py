"""Leave to speak: the last look, right before the bytes."""

from __future__ import annotations

import pytest

from domain.errors import RetryableError, UnknownOutcomeError
from wire.permit import may_speak, permitted

from .loopback import Loopback, client, reply


def test_without_leave_no_byte_goes_out() -> None:
    with Loopback(lambda _seen, _connection: reply()) as peer, client() as wire:
        with permitted(lambda: False), pytest.raises(RetryableError, match="claim_lost"):
            wire.send("POST", peer.url, content=b"x", writes=True)
        assert peer.seen == []
        assert wire.send("POST", peer.url, content=b"x", writes=True).status == 200


def test_leave_that_ends_in_the_middle_of_a_write_makes_it_unknown() -> None:
    answers = iter([True])
    with Loopback(lambda _seen, _connection: reply()) as peer, client() as wire:
        with permitted(lambda: next(answers, False)), pytest.raises(UnknownOutcomeError):
            wire.send("POST", peer.url, content=b"x" * 10, writes=True)
        assert b"x" not in b"".join(seen.body for seen in peer.seen)


def test_every_leave_counts() -> None:
    with permitted(lambda: True):
        assert may_speak()
        with permitted(lambda: False), permitted(lambda: True):
            assert not may_speak()
        assert may_speak()
