from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.order import Consignee
from rules.rates import cheapest, choose_carrier, price
from rules.ruleset import Rate, Routing
from tests.rules.samples import SHENZHEN, warehouse

SF = Rate(carrier="SF", first_grams=1000, first_cost=1200, step_grams=500, step_cost=200)
ZTO = Rate(carrier="ZTO", first_grams=3000, first_cost=900, step_grams=1000, step_cost=300)


def test_every_step_of_weight_that_is_begun_is_paid() -> None:
    costs = [price((SF,), "sz", SHENZHEN, grams, "SF") for grams in (0, 1000, 1001, 1500, 1501)]
    assert costs == [1200, 1200, 1400, 1400, 1600]


def test_the_first_rate_that_fits_counts() -> None:
    tibet = Rate(carrier="SF", regions=frozenset({"54"}), first_cost=5000)
    only_gz = Rate(carrier="SF", warehouses=frozenset({"gz"}), first_cost=1)
    rates = (tibet, only_gz, SF)
    assert price(rates, "sz", SHENZHEN, 100, "SF") == 1200
    assert price(rates, "gz", SHENZHEN, 100, "SF") == 1
    assert price(rates, "gz", Consignee(country="CN", region="540102"), 100, "SF") == 5000
    assert price(rates, "sz", SHENZHEN, 100, "EMS") is None
    assert price((), "sz", SHENZHEN, 100, "SF") is None


def test_the_cheapest_carrier_depends_on_the_weight_and_ties_go_by_name() -> None:
    place = warehouse("sz", carriers=("ZTO", "SF"))
    assert cheapest((SF, ZTO), place, SHENZHEN, 100) == (900, "ZTO")
    twin = Rate(carrier="EMS", first_cost=900)
    assert cheapest((ZTO, twin), warehouse("sz"), SHENZHEN, 100) == (900, "EMS")
    assert cheapest((ZTO, twin), place, SHENZHEN, 100) == (900, "ZTO")
    assert cheapest((twin,), place, SHENZHEN, 100) is None


def test_cheapest_is_a_wish_like_any_other_and_is_passed_over_without_a_rate() -> None:
    place = warehouse("sz", carriers=("SF", "ZTO"))
    routing = Routing(rates=(SF, ZTO), carriers={"sz": "SF"})
    assert choose_carrier(place, ("EMS", "cheapest", "SF"), routing, SHENZHEN, 100) == "ZTO"
    assert choose_carrier(place, ("cheapest", "SF"), Routing(default_carriers=("ZTO",)), SHENZHEN, 100) == "SF"
    assert choose_carrier(place, ("cheapest",), Routing(default_carriers=("ZTO",)), SHENZHEN, 100) == "ZTO"


RATES = st.lists(
    st.builds(
        Rate,
        carrier=st.sampled_from(["SF", "ZTO"]),
        warehouses=st.frozensets(st.sampled_from(["sz", "gz"]), max_size=1),
        regions=st.frozensets(st.sampled_from(["44", "US", "", "x"]), max_size=2),
        first_grams=st.integers(-5, 3000),
        first_cost=st.integers(0, 2000),
        step_grams=st.integers(-1, 1000),
        step_cost=st.integers(0, 500),
    ),
    max_size=4,
)


@given(RATES, st.integers(-10, 10_000), st.integers(0, 5_000), st.sampled_from(["", "440305", "US-CA", "x"]))
def test_a_heavier_parcel_never_costs_less(rates: list[Rate], grams: int, more: int, region: str) -> None:
    place, there = warehouse("sz"), Consignee(region=region)
    light, heavy = (cheapest(rates, place, there, weight) for weight in (grams, grams + more))
    assert (light is None) == (heavy is None)
    if light is not None and heavy is not None:
        assert light <= heavy or light[0] <= heavy[0]
        assert light[0] == price(rates, "sz", there, grams, light[1])
