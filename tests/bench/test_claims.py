"""The count of winners is itself right: small, on both databases, through the real absorber."""

from __future__ import annotations

from bench.claims import Claims, run_claims


def test_every_last_piece_has_one_winner(database_url: str) -> None:
    (result,) = run_claims(rounds=3, claims=8, databases=[database_url], at_once=4)
    assert (result.winners, result.reserved, result.good) == ({1: 3}, 3, True)


def counted(winners: dict[int, int]) -> Claims:
    return Claims(database="x", rounds=2, claims=2, at_once=2, winners=winners, reserved=2, seconds=1.0)


def test_two_winners_or_none_are_not_good() -> None:
    assert [counted(each).good for each in ({1: 2}, {1: 1, 2: 1}, {1: 1, 0: 1})] == [True, False, False]
