"""Three workers on three hosts, killed, frozen, cut off, their database crashed and replaced: every order goes its way once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.hosts import missing
from bench.machines import start_machine

from .world import CALLS, World, faults_of, open_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("machines")) as opened:
        yield opened


def test_three_workers_together_make_no_more_calls_than_a_lane_holds(world: World) -> None:
    world.place(120)
    assert not faults_of(world, world.settle())
    assert 1 < max(gauge.most for gauge in world.gauges.values()) <= CALLS


def test_a_killed_and_a_frozen_worker_and_a_crashed_database_lose_and_double_nothing(world: World) -> None:
    world.place(30)
    frozen, killed = world.workers[:2]
    assert world.until_busy(frozen)
    frozen.freeze()
    assert world.until_busy(killed)
    killed.kill()
    world.restart_database()
    time.sleep(world.settings.lease_seconds)
    frozen.thaw()
    assert not faults_of(world, world.settle())
    assert all(gauge.calls for gauge in list(world.gauges.values())[:3])


@pytest.mark.skipif(missing() is not None, reason=f"no hosts: {missing()}")
def test_a_host_without_network_is_replaced_and_comes_back(world: World) -> None:
    assert world.hosts is not None
    world.workers[1] = start_machine(world.settings, network=world.hosts.names[1])
    world.place(10)
    assert world.until_busy(world.workers[0])
    world.hosts.cut(world.hosts.names[0])
    world.workers[2].kill()
    assert not faults_of(world, world.settle())
    world.hosts.mend(world.hosts.names[0])


def test_a_standby_takes_over_with_everything_that_was_acknowledged(world: World) -> None:
    world.place(10)
    assert world.until_busy(world.workers[0], 30)
    world.promote()
    assert not faults_of(world, world.settle())


def test_a_worker_that_is_asked_to_stop_gives_everything_back(world: World) -> None:
    world.place(6)
    world.until_busy(world.workers[1])
    assert world.workers[1].stop(45) == 0
    assert not world.jobs(world.workers[1])
    assert not faults_of(world, world.settle())
