"""Every word that is not in a template: names of codes, states and events, marked for translation and looked up when shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
_FOLDER = Path(__file__).parent / "locale"

# How bad it is when nobody looks: 2 = goods or money may go wrong, 1 = an order waits, 0 = to know.
_GRAVE = frozenset(
    "outcome_unknown ship_after_cancel over_ship cancel_too_late tracking_conflict change_too_late".split()
)
_LIGHT = frozenset("hold_remark hold_flag confirm_degraded short_ship partly_shipped_elsewhere".split())

PROBLEMS: Mapping[str, str] = {
    "sender_inactive": "Sender is not active",
    "sender_not_allowed": "Sender may not order this",
    "credit_exceeded": "Credit limit exceeded",
    "sku_unmapped": "SKU has no mapping",
    "sku_ambiguous": "SKU is mapped more than once",
    "sku_delisted": "SKU is not listed",
    "price_below_floor": "Price below the floor",
    "out_of_stock": "Not enough stock",
    "stock_stale": "Stock figures are too old",
    "address_incomplete": "Address is incomplete",
    "address_unknown_region": "Region is not known",
    "phone_invalid": "Phone number is not valid",
    "out_of_delivery_range": "No warehouse delivers there",
    "address_masked": "Address is masked",
    "money_mismatch": "Amounts do not add up",
    "currency_unknown": "Currency is not known",
    "unpaid": "Not paid",
    "platform_forbids_shipping": "Platform forbids shipping",
    "no_warehouse": "No warehouse fits",
    "hold_remark": "Buyer or seller left a remark",
    "hold_flag": "Seller flagged the order",
    "hold_address_changed": "Address changed after ordering",
    "approve_service": "Customer service has to approve",
    "approve_finance": "Finance has to approve",
    "gift_out_of_stock": "A gift is out of stock",
    "warehouse_rejected": "Warehouse rejected the order",
    "warehouse_cancelled": "Warehouse cancelled the order",
    "outcome_unknown": "Push outcome is unknown",
    "cancel_refused": "Warehouse refused the cancel",
    "cancel_too_late": "Cancel came too late",
    "change_too_late": "Change came too late",
    "confirm_refused": "Channel refused the tracking",
    "confirm_degraded": "Tracking sent in a reduced form",
    "over_ship": "More shipped than ordered",
    "short_ship": "Less shipped than ordered",
    "ship_after_cancel": "Shipped after the cancel",
    "tracking_conflict": "Tracking numbers disagree",
    "tracking_duplicate": "Tracking number used twice",
    "tracking_unknown_order": "Tracking for an unknown order",
    "partly_shipped_elsewhere": "Partly shipped elsewhere",
    "send_exhausted": "Sending failed too often",
    "connection_stopped": "Connection is stopped",
    "connection_failing": "Connection keeps failing",
    "warehouse_exception": "Warehouse reports a problem",
    "unreadable": "Document cannot be read",
    "unabsorbable": "Document cannot be stored",
    "not_a_record": "Document is not a record",
    "id_mismatch": "Document names another order",
    "json": "Document cannot be read",
    "encoding": "Document cannot be read",
    "no_lines": "Document has no lines",
    "duplicate_line": "Document gives a line twice",
    **dict.fromkeys(("type", "text", "number", "time", "money", "missing", "bool"), "Field cannot be read"),
}
STATES: Mapping[str, str] = {
    "pending_payment": "awaiting payment",
    "pending_shipment": "to ship",
    "partially_shipped": "partly shipped",
    "shipped": "shipped",
    "completed": "completed",
    "closed": "closed",
    "planned": "planned",
    "held": "held",
    "exception": "exception",
    "ready": "ready",
    "pushing": "pushing",
    "accepted": "accepted",
    "picking": "picking",
    "delivered": "delivered",
    "unknown": "outcome unknown",
    "rejected": "rejected",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
    "open": "open",
    "snoozed": "snoozed",
    "resolved": "resolved",
    "refused": "refused",
    "returned": "returned",
    "paid": "paid",
    "unpaid": "unpaid",
    "cod": "cash on delivery",
    "waiting": "waiting",
    "due": "due",
    "sending": "sending",
    "done": "done",
    "parked": "parked",
    "withdrawn": "withdrawn",
    "confirmed": "confirmed",
    "degraded": "sent in a reduced form",
    "none": "nothing to confirm",
    "new": "new",
    "stale": "older version",
    "active": "active",
    "stopped": "stopped",
    "after_sale": "after-sale",
    "requested": "requested",
    "approved": "approved",
    "refunding": "refunding",
    "refunded": "refunded",
    "push": "push",
    "cancel": "cancel",
    "confirm": "tracking",
    "refund": "refund",
    "return_refund": "return and refund",
    "exchange": "exchange",
    "resend": "resend",
    "price_adjustment": "price adjustment",
    "fix": "fix",
    "release": "release",
    "retry": "retry",
    "dismiss": "dismiss",
    "snooze": "snooze",
    "assign": "assign",
    "poll": "poll",
    "day": "daily sweep",
    "week": "weekly sweep",
    "draft": "draft",
    "validated": "checked",
    "replayed": "replayed",
    "armed": "armed",
    "retired": "retired",
}
CHECKS: Mapping[str, str] = {
    "sender": "sender",
    "listing": "goods",
    "stock": "stock",
    "consignee": "consignee",
    "money": "money",
    "payment": "payment",
}
EVENTS: Mapping[str, str] = {
    "received": "order received",
    "born_closed": "closed when it came",
    "changed": "source changed the order",
    "stale_version": "older version kept, not applied",
    "changed_after_push": "changed after the push",
    "shipped_elsewhere": "shipped elsewhere",
    "exception": "exception raised",
    "exception_resolved": "exception resolved",
    "planned": "fulfilment planned",
    "plan_dropped": "plan dropped",
    "gift": "gift added",
    "gift_parcel": "parcel of gifts only, not told to the shop",
    "reservation_ended": "reservation ended unpaid",
    "sent_at_once": "sent at once by a person",
    "released": "released to the warehouse",
    "corrected": "corrected",
    "after_sale": "after-sale news",
    "unmasked": "buyer data shown",
    "review_fix": "fixed by a person",
    "review_release": "released by a person",
    "review_retry": "retried by a person",
    "review_cancel": "cancelled by a person",
    "review_dismiss": "dismissed by a person",
    "pushed": "pushed to the warehouse",
    "merged": "merged with another order",
    "unmerged": "ships without the others",
    "merged_push": "pushed with other orders",
    "rerouted": "sent from another warehouse",
    "push_unknown": "outcome of the push unknown",
    "shipped": "package shipped",
    "confirmed": "tracking sent home",
    "cancel": "cancel",
    "cancelled": "cancelled",
    "cancel_refused": "warehouse refused the cancel",
    "intercept": "asked to stop",
    "unknown_status": "unknown status from the warehouse",
}
FIELDS: Mapping[str, str] = {
    "name": "name",
    "phone": "phone",
    "country": "country",
    "province": "province",
    "city": "city",
    "district": "district",
    "town": "town",
    "street": "street",
    "postcode": "postcode",
    "email": "e-mail",
    "company": "company",
    "phone_extension": "extension",
}
ANSWERS: Mapping[str, str] = {
    "not_found": "There is no such thing.",
    "already_resolved": "Somebody else has resolved it already.",
    "approval_scope": "An admin has to approve this",
    "not_waivable": "This cannot be waved through: its cause has to be fixed.",
    "correction": "This field cannot be corrected.",
    "order_not_cancellable": "Everything has shipped: open an after-sale instead.",
    "already_pushed": "The warehouse has it already.",
    "not_merged": "It shares no parcel.",
    "not_ready": "Nothing of it waits for its time.",
    "reroute_impossible": "It cannot be sent from there.",
    "warehouse_unknown": "There is no such warehouse.",
    "merge_same": "An order cannot be merged with itself.",
    "merge_owner": "They belong to different owners.",
    "merge_channel": "They come from different channels.",
    "merge_buyer": "They have different buyers.",
    "merge_consignee": "They go to different people.",
    "merge_phone": "They have different phone numbers.",
    "merge_address": "They go to different addresses.",
    "merge_warehouse": "They leave from different warehouses.",
    "merge_carrier": "They go with different carriers.",
    "merge_term": "They are to be delivered on different terms.",
    "merge_currency": "They were paid in different currencies.",
    "merge_goods": "Their goods may not travel together.",
    "merge_shipped": "One of them has shipped or ended.",
    "merge_not_ready": "One of them is not ready, or is with the warehouse.",
    "merge_unpaid": "One of them is not paid.",
    "merge_after_sale": "One of them has an open after-sale.",
    "merge_sealed": "Cash on delivery and parcels abroad ship alone.",
    "merge_masked": "A masked address cannot be compared.",
    "merge_split": "One of them ships in several parts.",
    "merge_no_rule": "No rule lets one of them wait for others.",
    "nothing_to_fix": "Nothing was changed.",
    "when": "Say until when.",
    "done": "Done.",
    "resolved": "Resolved.",
    "rolled_back": "Rolled back.",
    "ruleset_invalid": "These are no rules.",
    "ruleset_version": "This version exists already: give changed rules a new one.",
    "ruleset_state": "This version cannot take that step.",
    "second_person": "A second person has to approve it.",
    "replay_missing": "Replay exactly this document first.",
    "rails_broken": "Guard rails are broken: say why that is all right.",
    "rails": "These are no guard rails.",
    "nothing_to_roll_back": "There is no version to go back from.",
    "key_unknown": "This key is not known, or may not sign in here.",
}
DIFFERENCES: Mapping[str, str] = {
    "warehouse": "other warehouses",
    "split": "more or fewer parcels",
    "goods": "goods shared out otherwise",
    "hold": "other holds",
    "exception": "stopped or no longer stopped",
    "carrier": "other carriers",
    "cost": "other costs",
    "tag": "other tags",
    "gift": "other gifts",
    "merging": "merging",
    "release": "released at another time",
}
RAILS: Mapping[str, str] = {
    "holds_up_percent": "more orders held (percent of orders)",
    "splits_up_percent": "more orders split (percent of orders)",
    "cost_up_percent": "higher costs (percent)",
    "no_warehouse_up": "more orders without a warehouse",
    "not_reproduced": "orders decided otherwise by their own version",
    "failed": "orders the draft fails on",
    "orders_at_least": "orders replayed, at least",
}
RULE_EVENTS: Mapping[str, str] = {
    "drafted": "draft stored",
    "validated": "checked",
    "replayed": "replayed",
    "approved": "approved",
    "armed": "armed",
    "armed_first": "armed with the first configuration",
    "armed_again": "in force again",
    "rolled_back": "rolled back",
    "retired": "retired",
}
WHY_NOT: Mapping[str, str] = {
    "holds": "That is what was decided.",
    "unknown": "It was not known when this was decided.",
    "nothing_to_ship": "There is nothing to ship.",
    "barred": "It may not ship this order.",
    "supplier": "It ships no goods of this supplier.",
    "stock": "Stock is short.",
    "late": "It ships tomorrow only.",
    "route_rule": "A route rule prefers another.",
    "cost": "It costs more.",
    "parcels": "It takes more parcels.",
    "parts": "It would take more parts than allowed.",
    "nearness": "The other is nearer.",
    "priority": "The other has priority.",
    "name": "Only the name decided.",
    "no_plan": "No plan was possible.",
    "carrier_unknown": "The warehouse does not work with it.",
    "carrier_order": "Another carrier comes first.",
    "hold": "A hold stops it.",
    "condition": "A condition failed.",
    "switched_off": "The rule is switched off.",
    "alternative": "Choose what to ask about, and name it.",
    "no_decision": "No decision yet.",
    "without_input": "What was known then was not kept.",
    "unusable": "What was kept of it cannot be read any more.",
    "unknown_ruleset": "Its version of the rules is not stored any more.",
}
CHANGES: Mapping[str, str] = {
    "value": "value",
    "goods": "goods",
    "stock": "stock",
    "warehouse": "warehouse",
    "sender": "sender",
    "waive": "hold",
    "rule": "rule",
    "routing": "routing",
}
TABLES = (WHY_NOT, CHANGES, PROBLEMS, STATES, CHECKS, EVENTS, FIELDS, ANSWERS, DIFFERENCES, RAILS, RULE_EVENTS)


def gravity(code: str) -> int:
    """2 = goods or money may go wrong, 1 = an order waits, 0 = to know."""
    return 2 if code in _GRAVE else 0 if code in _LIGHT else 1


def title_of(table: Mapping[str, str], code: str) -> str:
    """The English name of a code; a code nobody named is shown as it is, readable."""
    return table.get(code) or code.replace("_", " ")


@cache
def translations(language: str) -> NullTranslations:
    """The catalogue of a language, compiled in memory from its .po file: there is no build step."""
    path = _FOLDER / language / "LC_MESSAGES" / "console.po"
    if not path.is_file():
        return NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def choose_language(cookie: str, accept: str) -> str:
    """The language a person chose, else the first of ours that the browser asks for, else English."""
    if cookie in LANGUAGES:
        return cookie
    for part in accept[:200].lower().split(","):
        if (name := part.strip()[:2]) in LANGUAGES:
            return name
    return "en"
