"""Orders, and what each ready ruleset decides about them."""

from __future__ import annotations

from domain.order import Consignee
from tests.rules.ready import Example, at, by, case, told

TEA = ("TEA", 1, 9900)
FISH = ("FISH", 1, 8000)
MILK = ("MILK", 2, 20000)
OK = told("identity_ok")
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "e-commerce": (
        case(
            "one parcel from the nearest warehouse by its cheapest carrier",
            TEA,
            decided="wh-east ZTO 1×TEA; merge 30; from 11-18 10:15",
        ),
        case(
            "the south ships to the south", TEA, to="440305", decided="wh-south ZTO 1×TEA; merge 30; from 11-18 10:15"
        ),
        case(
            "liquids travel apart and a gift is given from 299 yuan",
            ("TEA", 3, 9900),
            ("OIL", 1, 5000),
            decided="wh-east ZTO 3×TEA 1×GIFT-CUP; wh-east ZTO 1×OIL; gifts 1×GIFT-CUP; merge 30; from 11-18 10:15",
        ),
        case(
            "heavy goods are split and go with a freight carrier",
            ("SOFA", 2, 90000),
            decided="wh-east DBL 1×SOFA 1×GIFT-CUP; wh-east DBL 1×SOFA; gifts 1×GIFT-CUP; alone; from 11-18 10:15",
        ),
        case("far away goes by post", TEA, to="540102", decided="wh-east EMS 1×TEA; merge 30; from 11-18 10:15"),
        case(
            "a remark stops it",
            TEA,
            order={"buyer_message": "请放门口"},
            decided="holds hold_remark; wh-east ZTO 1×TEA; merge 30; from 11-18 10:15",
        ),
        case(
            "a red flag stops it",
            TEA,
            order={"seller_flag": "1"},
            decided="holds hold_flag; wh-east ZTO 1×TEA; merge 30; from 11-18 10:15",
        ),
        case(
            "a flag that says looked at does not",
            TEA,
            order={"seller_flag": "3"},
            decided="wh-east ZTO 1×TEA; merge 30; from 11-18 10:15",
        ),
        case(
            "a changed address stops it",
            TEA,
            order={"notes": ("address_changed",)},
            decided="holds hold_address_changed; wh-east ZTO 1×TEA; merge 30; from 11-18 10:15",
        ),
        case(
            "finance approves from 5,000 yuan",
            ("TEA", 1, 500000),
            facts={"buyer_orders_30d": 3},
            decided="holds approve_finance; wh-east ZTO 1×TEA 1×GIFT-CUP; gifts 1×GIFT-CUP; merge 30; "
            "from 11-18 10:15; tag regular",
        ),
        case(
            "at night it waits for the morning",
            TEA,
            now="2026-11-18T22:30",
            decided="wh-east ZTO 1×TEA; merge 30; from 11-19 08:00",
        ),
    ),
    "flash-sale": (
        case(
            "from the warehouse that packed before, with a cup",
            ("SALE-1", 1, 19900),
            decided="wh-sale YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "a full warehouse hands over to the next",
            ("SALE-1", 1, 19900),
            facts={"planned_today": {"wh-sale": 100}},
            decided="wh-overflow YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "the fifth order of a day is looked at",
            ("SALE-1", 1, 19900),
            facts={"buyer_orders_24h": 5},
            decided="holds hold_repeat_buyer; wh-sale YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "of a known buyer it is not",
            ("SALE-1", 1, 19900),
            facts={"buyer_orders_24h": 5},
            order=told("vip"),
            decided="wh-sale YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "more than three pieces are looked at",
            ("SALE-1", 4, 19900),
            decided="holds hold_sale_limit; wh-sale ZTO 4×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "from 999 yuan a bag besides, and what is short waits",
            ("SALE-2", 3, 39900),
            decided="wh-sale ZTO 2×SALE-2 1×GIFT-CUP 1×GIFT-BAG; wh-sale ZTO 1×SALE-2 waits; "
            "gifts 1×GIFT-CUP 1×GIFT-BAG; alone; from 11-11 01:00; tag sale",
        ),
        case(
            "a changed address stops it",
            ("SOCKS", 1, 900),
            order={"notes": ("address_changed",)},
            decided="holds hold_address_changed; wh-main YTO 1×SOCKS; alone; from 11-11 01:00",
        ),
        case(
            "pre-sale goods leave when the sale ends",
            ("SALE-1", 1, 19900),
            order=told("pre-sale"),
            decided="wh-sale YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-12 00:00; tag sale",
        ),
        case(
            "after the rush orders wait ten minutes for each other",
            ("SOCKS", 1, 900),
            now="2026-11-13T10:00",
            decided="wh-main YTO 1×SOCKS; merge 10",
        ),
        case(
            "what comes at three in the night leaves at six",
            ("SALE-1", 1, 19900),
            now="2026-11-11T02:45",
            decided="wh-sale YTO 1×SALE-1 1×GIFT-CUP; gifts 1×GIFT-CUP; alone; from 11-11 06:00; tag sale",
        ),
    ),
    "distribution": (
        case(
            "a plain order of a partner",
            ("POT", 2, 5000),
            facts=by("shop-7"),
            decided="wh-main ZTO 2×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "the first order of a partner",
            ("POT", 2, 5000),
            facts=by("new", sender_orders_before=0),
            decided="holds approve_service; wh-main ZTO 2×POT 1×CATALOGUE; gifts 1×CATALOGUE; merge 120; "
            "from 11-18 10:10; tag new-partner",
        ),
        case(
            "each supplier has parcels of its own",
            ("POT", 1, 5000),
            ("PAN", 1, 7000),
            facts=by("shop-7"),
            decided="wh-main ZTO 1×POT; wh-main YTO 1×PAN; alone; from 11-18 10:10",
        ),
        case(
            "below the price that is kept",
            ("KEPT-1", 1, 9899),
            facts=by("shop-7"),
            decided="holds hold_price; wh-main ZTO 1×KEPT-1; merge 120; from 11-18 10:10",
        ),
        case(
            "many pieces go by freight",
            ("POT", 200, 100),
            facts=by("shop-7"),
            decided="holds approve_service; wh-main DBL 200×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "credit that runs out",
            ("POT", 1, 5000),
            facts=by("shop-7", 999_999),
            decided="holds approve_finance; wh-main ZTO 1×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "more than 50,000 yuan",
            ("POT", 2, 2_600_000),
            facts=by("shop-7"),
            decided="holds hold_amount approve_finance; wh-main ZTO 1×POT; wh-main ZTO 1×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "of a key partner finance alone approves it",
            ("POT", 2, 2_600_000),
            facts=by("acme"),
            decided="holds approve_finance; wh-partners ZTO 1×POT; wh-partners ZTO 1×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "a remark stops it",
            ("POT", 1, 5000),
            facts=by("shop-7"),
            order={"buyer_message": "急"},
            decided="holds hold_remark; wh-main ZTO 1×POT; merge 120; from 11-18 10:10",
        ),
        case(
            "our own shop ships from retail too",
            ("POT", 1, 5000),
            decided="wh-retail ZTO 1×POT; merge 120; from 11-18 10:10",
        ),
    ),
    "cross-border": (
        case(
            "bonded goods leave the bonded warehouse",
            MILK,
            order=OK,
            decided="wh-bonded SF 2×MILK; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "direct mail leaves from abroad, at most 1,000 yuan a parcel",
            ("BAG", 3, 50000),
            order=OK,
            decided="wh-abroad EMS 2×BAG; wh-abroad EMS 1×BAG; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "both kinds travel apart",
            MILK,
            ("BAG", 1, 50000),
            order=OK,
            decided="wh-bonded SF 2×MILK; wh-abroad EMS 1×BAG; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "without an identity nothing leaves",
            MILK,
            decided="holds hold_identity; wh-bonded SF 2×MILK; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "cosmetics need a certificate",
            ("CREAM", 1, 20000),
            order=OK,
            decided="holds hold_certificate; wh-bonded SF 1×CREAM; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "unless it is on file",
            ("SERUM", 1, 20000),
            order=OK,
            decided="wh-bonded SF 1×SERUM; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "or was looked at",
            ("CREAM", 1, 20000),
            order=told("identity_ok certificate_ok"),
            decided="wh-bonded SF 1×CREAM; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "above the limit of an order",
            ("MILK", 30, 20000),
            order=OK,
            decided="holds hold_value approve_customs; wh-bonded SF 30×MILK; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "no direct mail to the far west",
            ("BAG", 1, 50000),
            to="650102",
            order=OK,
            decided="holds hold_region; wh-abroad EMS 1×BAG; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "not to other countries",
            MILK,
            order=OK | {"consignee": Consignee(name="x", country="SG", region="SG")},
            decided="holds hold_region; wh-bonded SF 2×MILK; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "an address that is not the declared one",
            MILK,
            order=OK | {"notes": ("address_changed",)},
            decided="holds hold_address_changed; wh-bonded SF 2×MILK; alone; from 11-18 11:00; tag declared",
        ),
        case(
            "at night it waits for the morning",
            MILK,
            order=OK,
            now="2026-11-18T21:00",
            decided="wh-bonded SF 2×MILK; alone; from 11-19 08:00; tag declared",
        ),
    ),
    "cold-chain": (
        case(
            "chilled goods with ice from a cold warehouse",
            FISH,
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-18 10:30; tag cold",
        ),
        case(
            "in the south by another carrier",
            ("LYCHEE", 2, 3000),
            to="440305",
            decided="wh-cold-south JD 2×LYCHEE 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-18 10:30; tag cold",
        ),
        case("dry goods from the dry warehouse", ("RICE", 1, 4000), decided="wh-dry ZTO 1×RICE; merge 60"),
        case(
            "each temperature has a parcel of its own",
            FISH,
            ("ICE", 2, 1500),
            ("RICE", 1, 4000),
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; wh-cold-east SF 2×ICE; wh-cold-east ZTO 1×RICE; "
            "gifts 2×ICE-PACK; alone; from 11-18 10:30; tag cold",
        ),
        case(
            "at most 12 kg a parcel, 30 kg are approved",
            ("FISH", 8, 8000),
            decided="holds approve_service; wh-cold-east SF 3×FISH; wh-cold-east SF 3×FISH; "
            "wh-cold-east SF 2×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-18 10:30; tag cold",
        ),
        case(
            "where no cold chain reaches",
            FISH,
            to="540102",
            decided="holds hold_cold_region; wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; "
            "from 11-18 10:30; tag cold",
        ),
        case(
            "a remark stops it",
            FISH,
            order={"seller_memo": "?"},
            decided="holds hold_remark; wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-18 10:30; tag cold",
        ),
        case(
            "in the evening it waits for the morning",
            FISH,
            now="2026-11-18T17:45",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-19 08:00; tag cold",
        ),
        case(
            "Friday from two it waits for Monday",
            FISH,
            now="2026-11-20T14:30",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-23 08:00; tag cold",
        ),
        case(
            "Saturday it waits for Monday",
            FISH,
            now="2026-11-21T09:00",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-23 09:00; tag cold",
        ),
        case(
            "Saturday evening too",
            FISH,
            now="2026-11-21T23:50",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-23 17:50; tag cold",
        ),
        case(
            "Sunday it waits for Monday",
            FISH,
            now="2026-11-22T09:00",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-23 09:00; tag cold",
        ),
        case(
            "Sunday evening too",
            FISH,
            now="2026-11-22T20:00",
            decided="wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; from 11-23 14:00; tag cold",
        ),
        case(
            "what was paid before the weekend is for a person",
            FISH,
            now="2026-11-21T09:00",
            order={"paid_at": at("2026-11-19T12:00")},
            decided="holds hold_cold_weekend; wh-cold-east SF 1×FISH 2×ICE-PACK; gifts 2×ICE-PACK; alone; "
            "from 11-21 12:00; tag cold",
        ),
    ),
}
