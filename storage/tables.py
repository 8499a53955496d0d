"""The rows. Ids are 63-bit integers made by the application; times are integer microseconds UTC since 1970 (one
meaning on both databases, sortable, nothing to parse); money is integer minor units; JSON is compact text. Columns of
type `Sealed` hold AES-GCM blobs (storage.vault) and nothing else.

Who writes: pull → inbox, cursors · absorb → everything an order is · dispatch → outbox, fulfilment states."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# INTEGER PRIMARY KEY is SQLite's own row id: no second index, appends only.
Id: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Micros: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Minor: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Sealed: TypeEngine[bytes] = LargeBinary()

ORDER_STATUSES = ("pending_payment", "pending_shipment", "partially_shipped", "shipped", "completed", "closed")
FULFILMENT_STATES = (
    "planned",
    "held",
    "exception",
    "ready",
    "pushing",
    "accepted",
    "picking",
    "shipped",
    "delivered",
    "unknown",
    "rejected",
    "cancelling",
    "cancelled",
)
INBOX_STATES = ("new", "done", "stale", "exception")
OUTBOX_STATES = ("waiting", "due", "sending", "unknown", "done", "refused", "parked", "withdrawn")
MERGE_STATES = ("open", "sealed", "pushed", "dissolved")
RULESET_STATES = ("draft", "validated", "replayed", "approved", "armed", "retired")
EXCEPTION_STATES = ("open", "snoozed", "resolved")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=False)


def _int(name: str, *, null: bool = False, default: int | None = None) -> Column[int]:
    return Column(name, Micros, nullable=null, default=default)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("holder"),
    _int("lease_until"),
)

# The last tick (µs) that one of the schedulers planned.
ticks = Table("ticks", metadata, Column("name", Text, primary_key=True), _int("tick"))

partners = Table(
    "partners",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _text("title"),
    Column("active", Boolean, nullable=False),
    _int("contract_from", null=True),
    _int("contract_to", null=True),
    _text("options"),
    _int("created_at"),
    _int("updated_at"),
)

accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _text("channel"),
    Column("partner_id", Id, nullable=True),
    Column("settings", Sealed, nullable=False),
    _text("options"),
    Column("enabled", Boolean, nullable=False),
    _text("state"),
    _text("state_reason"),
    _int("created_at"),
    _int("updated_at"),
    _one_of("state", ("active", "stopped")),
)

warehouses = Table(
    "warehouses",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _text("kind"),
    Column("settings", Sealed, nullable=False),
    _text("info"),
    Column("enabled", Boolean, nullable=False),
    _text("state"),
    _text("state_reason"),
    _int("stock_due_at"),
    _int("created_at"),
    _int("updated_at"),
    _one_of("state", ("active", "stopped")),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _text("name"),
    Column("partner_id", Id, nullable=True),
    _text("scope"),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    _int("created_at"),
    _int("revoked_at", null=True),
    _one_of("scope", ("partner", "clerk", "admin", "read")),
)

listings = Table(
    "listings",
    metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("external_sku", Text, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("listed", Boolean, nullable=False),
    _int("floor_price", null=True),
    _int("updated_at"),
    CheckConstraint("quantity > 0", name="quantity"),
)

bundles = Table(
    "bundles",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _text("components"),
    _int("created_at"),
)

rulesets = Table(
    "rulesets",
    metadata,
    _id(),
    Column("version", Text, nullable=False, unique=True),
    _text("state"),
    _text("document"),
    _text("digest"),
    _text("author"),
    _int("created_at"),
    _text("rails"),
    _text("replay"),
    _text("replay_digest"),
    _int("replayed_at", null=True),
    _text("approver"),
    _int("approved_at", null=True),
    _text("override_reason"),
    _int("armed_at", null=True),
    _int("armed_from", null=True),
    Column("rolled_back", Boolean, nullable=False),
    _one_of("state", RULESET_STATES),
    CheckConstraint("approver = '' OR approver <> author", name="two_persons"),
    # What came with the first configuration file had nobody to approve it and nothing to be replayed on.
    CheckConstraint(
        "state <> 'armed' OR (armed_from IS NOT NULL AND "
        "(author = 'apply' OR (approver <> '' AND digest <> '' AND replay_digest = digest)))",
        name="armed_as_replayed",
    ),
)

ruleset_log = Table(
    "ruleset_log",
    metadata,
    _id(),
    _text("version"),
    _int("at"),
    _text("actor"),
    _text("kind"),
    _text("detail"),
    Index("ix_ruleset_log_version", "version", "id"),
)

contexts = Table(
    "contexts",
    metadata,
    Column("digest", Text, primary_key=True),
    _text("content"),
    _int("created_at"),
)

# What values of one place have in common (storage.dictionaries); `number` is made from the content.
dictionaries = Table(
    "dictionaries",
    metadata,
    Column("number", Id, primary_key=True, autoincrement=False),
    _text("place"),
    Column("content", Sealed, nullable=False),
    _int("created_at"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("stream", Text, primary_key=True),
    _int("watermark"),
    _int("window_start", null=True),
    _int("window_end", null=True),
    _text("page"),
    _int("due_at"),
    _int("lease_until"),
    _int("token"),
    _int("failures"),
    _int("ran_at", null=True),
    _text("error"),
    _one_of("stream", ("poll", "day", "week")),
    Index("ix_cursors_due", "due_at"),
)

inbox = Table(
    "inbox",
    metadata,
    _id(),
    _text("source_kind"),
    Column("source_id", Id, nullable=False),
    _text("kind"),
    _text("external_id"),
    Column("seq", Integer, nullable=False),
    _text("version"),
    Column("body_hash", LargeBinary, nullable=False),
    Column("body", Sealed, nullable=False),
    Column("size", Integer, nullable=False),
    _int("received_at"),
    _text("state"),
    Column("order_id", Id, nullable=True),
    _text("error", null=True),
    UniqueConstraint("source_kind", "source_id", "kind", "external_id", "seq"),
    _one_of("state", INBOX_STATES),
    CheckConstraint("length(external_id) > 0", name="external_id"),
    Index("ix_inbox_new", "id", sqlite_where=text("state = 'new'"), postgresql_where=text("state = 'new'")),
    Index(
        "ix_inbox_news",
        "order_id",
        sqlite_where=text("source_kind <> 'account' AND order_id IS NOT NULL"),
        postgresql_where=text("source_kind <> 'account' AND order_id IS NOT NULL"),
    ),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("external_id", Text, primary_key=True),
    _text("reason"),
    _int("created_at"),
)

# `number` is the id in another form (domain/numbers.py), so it is found by the id and needs no index of its own.
orders = Table(
    "orders",
    metadata,
    _id(),
    _text("number"),
    Column("account_id", Id, nullable=False),
    Column("partner_id", Id, nullable=True),
    _text("external_id"),
    _text("status"),
    _text("source_status"),
    _text("payment"),
    _text("currency"),
    Column("goods", Minor, nullable=False),
    Column("freight", Minor, nullable=False),
    Column("tax", Minor, nullable=False),
    Column("discount", Minor, nullable=False),
    Column("paid", Minor, nullable=False),
    _text("version"),
    _int("source_time"),
    _int("placed_at"),
    _int("paid_at", null=True),
    _text("country"),
    _text("region"),
    Column("buyer_hash", LargeBinary, nullable=True),
    Column("phone_hash", LargeBinary, nullable=True),
    Column("tail_hash", LargeBinary, nullable=True),
    Column("merge_hash", LargeBinary, nullable=True),
    Column("blocked", Boolean, nullable=False),
    _text("verdicts"),
    _text("tags"),
    Column("private", Sealed, nullable=False),
    Column("inbox_id", Id, nullable=False),
    Column("event_seq", Integer, nullable=False),
    Column("event_hash", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    _int("cancelled_at", null=True),
    _int("reserved_until", null=True),
    _int("created_at"),
    _int("updated_at"),
    UniqueConstraint("account_id", "external_id"),
    _one_of("status", ORDER_STATUSES),
    CheckConstraint("length(external_id) > 0", name="external_id"),
    Index("ix_orders_updated", "updated_at", "id"),
    Index(
        "ix_orders_partner",
        "partner_id",
        "updated_at",
        "id",
        sqlite_where=text("partner_id IS NOT NULL"),
        postgresql_where=text("partner_id IS NOT NULL"),
    ),
    Index("ix_orders_buyer", "account_id", "buyer_hash", "placed_at"),
    Index(
        "ix_orders_tail",
        "tail_hash",
        "id",
        sqlite_where=text("tail_hash IS NOT NULL"),
        postgresql_where=text("tail_hash IS NOT NULL"),
    ),
    Index(
        "ix_orders_reserved",
        "reserved_until",
        sqlite_where=text("reserved_until IS NOT NULL"),
        postgresql_where=text("reserved_until IS NOT NULL"),
    ),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Id, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("external_id"),
    _text("external_sku"),
    _text("listing_id"),
    _text("sku"),
    _text("title"),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Minor, nullable=False),
    Column("amount", Minor, nullable=False),
    Column("discount", Minor, nullable=False),
    Column("freight", Minor, nullable=False),
    Column("tax", Minor, nullable=False),
    Column("paid", Minor, nullable=False),
    Column("weight_grams", Minor, nullable=False),
    _text("state"),
    Column("requires_shipping", Boolean, nullable=False),
    _text("components", null=True),
    CheckConstraint("quantity > 0", name="quantity"),
    sqlite_with_rowid=False,
)

fulfilments = Table(
    "fulfilments",
    metadata,
    _id(),
    Column("code", Text, nullable=False, unique=True),
    Column("order_id", Id, nullable=False),
    Column("warehouse_id", Id, nullable=False),
    _text("state"),
    _text("carrier"),
    _text("warehouse_ref"),
    Column("freight", Minor, nullable=False),
    Column("revision", Integer, nullable=False),
    _int("news_due_at", null=True),
    Column("day", Integer, nullable=True),
    Column("merge_key", LargeBinary, nullable=True),
    Column("merge_id", Id, nullable=True),
    _int("created_at"),
    _int("updated_at"),
    _one_of("state", FULFILMENT_STATES),
    Index("ix_fulfilments_order", "order_id"),
    Index(
        "ix_fulfilments_merge_key",
        "merge_key",
        sqlite_where=text("merge_key IS NOT NULL AND state = 'ready'"),
        postgresql_where=text("merge_key IS NOT NULL AND state = 'ready'"),
    ),
    Index(
        "ix_fulfilments_merge",
        "merge_id",
        sqlite_where=text("merge_id IS NOT NULL"),
        postgresql_where=text("merge_id IS NOT NULL"),
    ),
    Index(
        "ix_fulfilments_news",
        "news_due_at",
        sqlite_where=text("news_due_at IS NOT NULL"),
        postgresql_where=text("news_due_at IS NOT NULL"),
    ),
    Index(
        "ix_fulfilments_waiting",
        "id",
        sqlite_where=text("state = 'planned'"),
        postgresql_where=text("state = 'planned'"),
    ),
)

# A warehouse order that carries the goods of several fulfilments. Until one is made, orders wait under `fulfilments.merge_key`.
merges = Table(
    "merges",
    metadata,
    _id(),
    Column("code", Text, nullable=False, unique=True),
    Column("warehouse_id", Id, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    _text("state"),
    Column("lead_id", Id, nullable=False),
    Column("size", Integer, nullable=False),
    _int("created_at"),
    _int("updated_at"),
    _one_of("state", MERGE_STATES),
    CheckConstraint("size > 1", name="size"),
)

fulfilment_lines = Table(
    "fulfilment_lines",
    metadata,
    Column("fulfilment_id", Id, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("shipped", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("shipped >= 0 AND shipped <= quantity", name="shipped"),
    sqlite_with_rowid=False,
)

packages = Table(
    "packages",
    metadata,
    _id(),
    Column("fulfilment_id", Id, nullable=False),
    Column("order_id", Id, nullable=False),
    _text("tracking"),
    _text("carrier"),
    _text("carrier_name"),
    _text("state"),
    _text("confirm_state"),
    _int("shipped_at"),
    _int("created_at"),
    _int("updated_at"),
    UniqueConstraint("fulfilment_id", "tracking"),
    CheckConstraint("length(tracking) > 0", name="tracking"),
    _one_of("state", ("shipped", "delivered", "refused", "returned")),
    Index("ix_packages_order", "order_id"),
    Index("ix_packages_tracking", "tracking"),
)

package_lines = Table(
    "package_lines",
    metadata,
    Column("package_id", Id, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity"),
    sqlite_with_rowid=False,
)

after_sales = Table(
    "after_sales",
    metadata,
    _id(),
    Column("order_id", Id, nullable=False),
    _text("external_id"),
    _text("kind"),
    _text("state"),
    _text("source_status"),
    Column("amount", Minor, nullable=False),
    _int("source_time", null=True),
    _int("created_at"),
    _int("updated_at"),
    UniqueConstraint("order_id", "external_id"),
)

after_sale_lines = Table(
    "after_sale_lines",
    metadata,
    Column("after_sale_id", Id, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("quantity", Integer, nullable=False),
    sqlite_with_rowid=False,
)

stock = Table(
    "stock",
    metadata,
    Column("warehouse_id", Id, primary_key=True, autoincrement=False),
    Column("sku", Text, primary_key=True),
    Column("on_hand", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("buffer", Integer, nullable=False),
    Column("backorder", Boolean, nullable=False),
    _int("source_time"),
    _int("moved_at"),
    _int("updated_at"),
    CheckConstraint("on_hand >= 0", name="on_hand"),
    CheckConstraint("reserved >= 0", name="reserved"),
    sqlite_with_rowid=False,
)

goods = Table(
    "goods",
    metadata,
    Column("sku", Text, primary_key=True),
    _text("title"),
    Column("weight_grams", Minor, nullable=False),
    Column("volume_ml", Minor, nullable=False),
    _text("supplier"),
    _text("classes"),
    _int("updated_at"),
    CheckConstraint("weight_grams >= 0", name="weight_grams"),
    CheckConstraint("volume_ml >= 0", name="volume_ml"),
)

# Day 0 of a warehouse is its lock: whoever may change any of its days holds it.
capacity = Table(
    "capacity",
    metadata,
    Column("warehouse_id", Id, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("planned", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# `used` is NULL until the open orders of the owner (a partner, or an account without one) have been counted once.
credits = Table(
    "credits",
    metadata,
    Column("owner_id", Id, primary_key=True, autoincrement=False),
    Column("used", Minor, nullable=True),
)

exceptions = Table(
    "exceptions",
    metadata,
    _id(),
    _text("code"),
    _text("subject"),
    Column("account_id", Id, nullable=True),
    Column("partner_id", Id, nullable=True),
    Column("order_id", Id, nullable=True),
    Column("inbox_id", Id, nullable=True),
    Column("outbox_id", Id, nullable=True),
    _text("state"),
    Column("detail", Sealed, nullable=False),
    _text("assignee"),
    _int("snoozed_until", null=True),
    _int("opened_at"),
    _int("resolved_at", null=True),
    _text("resolved_by"),
    _text("resolution"),
    _one_of("state", EXCEPTION_STATES),
    Index(
        "uq_exceptions_open",
        "subject",
        "code",
        unique=True,
        sqlite_where=text("state <> 'resolved'"),
        postgresql_where=text("state <> 'resolved'"),
    ),
    Index("ix_exceptions_state", "state", "id"),
    Index("ix_exceptions_order", "order_id"),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    _text("kind"),
    _text("target_kind"),
    Column("target_id", Id, nullable=False),
    Column("order_id", Id, nullable=False),
    Column("fulfilment_id", Id, nullable=True),
    Column("package_id", Id, nullable=True),
    _text("state"),
    Column("attempts", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    _int("token"),
    _int("due_at"),
    _text("outcome"),
    Column("reply", Sealed, nullable=True),
    _int("created_at"),
    _int("updated_at"),
    _one_of("state", OUTBOX_STATES),
    _one_of("kind", ("push", "cancel", "confirm")),
    Index(
        "ix_outbox_work",
        "due_at",
        sqlite_where=text("state IN ('due', 'sending', 'unknown')"),
        postgresql_where=text("state IN ('due', 'sending', 'unknown')"),
    ),
    Index(
        "ix_outbox_target",
        "target_id",
        "due_at",
        sqlite_where=text("state IN ('due', 'sending', 'unknown')"),
        postgresql_where=text("state IN ('due', 'sending', 'unknown')"),
    ),
    Index("ix_outbox_order", "order_id"),
    Index(
        "ix_outbox_waiting", "id", sqlite_where=text("state = 'waiting'"), postgresql_where=text("state = 'waiting'")
    ),
)

events = Table(
    "events",
    metadata,
    Column("order_id", Id, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _int("at"),
    _text("actor"),
    _text("kind"),
    _text("detail"),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

decisions = Table(
    "decisions",
    metadata,
    _id(),
    Column("order_id", Id, nullable=False),
    _text("ruleset"),
    Column("released", Boolean, nullable=False),
    Column("record", Sealed, nullable=False),
    _int("created_at"),
    Index("ix_decisions_order", "order_id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("partner_id", Id, primary_key=True, autoincrement=False),
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reply", Sealed, nullable=False),
    _int("created_at"),
    _int("expires_at"),
    Index("ix_idempotency_expires_at", "expires_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("source", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    _int("expires_at"),
    Index("ix_deliveries_expires_at", "expires_at"),
)

hints = Table(
    "hints",
    metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("external_id", Text, primary_key=True),
    _int("due_at"),
    Column("attempts", Integer, nullable=False),
)

# Rows of orders that have come to their end, out of the tables that work is done on (storage.archives).
archives = Table(
    "archives",
    metadata,
    Column("order_id", Id, primary_key=True, autoincrement=False),
    Column("content", Sealed, nullable=False),
)

# How far a walk over a growing table has come: the last (at in µs, id) it has seen.
marks = Table(
    "marks",
    metadata,
    Column("name", Text, primary_key=True),
    _int("at"),
    Column("row_id", Id, nullable=False),
)
