"""Queries of the web shop about goods and their sale, for which an index pays."""

from __future__ import annotations

from sqlalchemy import (
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import aliased

from corpus.queries import (
    CorpusQuery,
    Outcome,
    Sets,
    ago,
    always,
    at,
    by_skew,
    on,
    spread,
    windows,
)
from corpus.rows import BEGIN, Rows
from corpus.web_shop import (
    Cart,
    Coupon,
    Event,
    Line,
    Order,
    Payment,
    Product,
    reference_of,
    session_of,
)

__all__ = ["OF_GOODS"]

PRODUCT = bindparam("product")
CATEGORY = bindparam("category")
OF_PRODUCT = on("order_lines", "product_id")
BY_PRODUCT = Outcome(indexes=(OF_PRODUCT,))
BY_CATEGORY = Outcome(indexes=(on("products", "category_id"),))
BY_ORDER = Outcome(indexes=(on("payments", "order_id"),))


def _references(rows: Rows) -> Sets:
    """The last is one that nobody has: a wrong answer from a provider."""
    known = [reference_of(rows["payments"] // part) for part in (1, 3)]
    return [{"provider": "card", "reference": reference} for reference in (*known, "ref-1-1")]


def _sessions(rows: Rows) -> Sets:
    """The last is one of a new visitor."""
    known = [session_of(rows["carts"] // part) for part in (1, 3)]
    return [{"session": session} for session in (*known, "s-1-1")]


def _keyset_of_totals(rows: Rows) -> Sets:
    return [
        {"channel": "phone", "total": total, "last": rows["orders"] // 2}
        for total in (450_000, 300_000, 40_000)
    ]


_other = aliased(Line)
_BRAND_ON_SQLITE = (
    "SELECT id, sku, name FROM products WHERE json_extract(attributes, '$.brand') = :brand"
)
_BRAND_ON_POSTGRESQL = "SELECT id, sku, name FROM products WHERE attributes ->> 'brand' = :brand"


OF_GOODS: tuple[CorpusQuery, ...] = (
    CorpusQuery(
        name="payment_by_reference",
        statement=select(Payment).where(
            Payment.provider == bindparam("provider"),
            Payment.provider_reference == bindparam("reference"),
        ),
        values=_references,
        expected=Outcome(
            indexes=(
                on(
                    "payments",
                    "provider_reference",
                    "provider_reference, provider",
                    "provider, provider_reference",
                ),
            )
        ),
        because="a provider's answer is looked up by what is nearly unique",
        calls=2_500,
    ),
    CorpusQuery(
        name="payments_of_order",
        statement=select(Payment).where(Payment.order_id == bindparam("order")),
        values=spread("orders", "order"),
        expected=BY_ORDER,
        because="a foreign key without an index",
        calls=3_000,
    ),
    CorpusQuery(
        name="lines_of_product",
        statement=select(Line).where(Line.product_id == PRODUCT).order_by(Line.id.desc()).limit(50),
        values=by_skew("products", "product"),
        expected=BY_PRODUCT,
        because="a foreign key without an index, newest first by the key",
        calls=500,
    ),
    CorpusQuery(
        name="units_sold_of_product",
        statement=select(func.sum(Line.quantity), func.count()).where(Line.product_id == PRODUCT),
        values=by_skew("products", "product"),
        expected=BY_PRODUCT,
        because="a sum over one product; the quantity behind it would cover",
        calls=800,
    ),
    CorpusQuery(
        name="bought_together",
        statement=select(_other.product_id, func.count().label("times"))
        .select_from(Line)
        .join(_other, _other.order_id == Line.order_id)
        .where(Line.product_id == PRODUCT, _other.product_id != PRODUCT)
        .group_by(_other.product_id)
        .order_by(func.count().desc())
        .limit(10),
        values=by_skew("products", "product"),
        expected=BY_PRODUCT,
        because="a self join by the order, which has its index; the product has none",
        calls=400,
    ),
    CorpusQuery(
        name="returned_lines",
        statement=text(
            "SELECT id, order_id, product_id FROM order_lines "
            "WHERE returned_at IS NOT NULL AND returned_at >= :since ORDER BY returned_at"
        ).bindparams(at("since")),
        values=always({"since": ago(days=1)}, {"since": ago(days=7)}),
        expected=Outcome(indexes=(on("order_lines", "returned_at"),)),
        because="98 of 100 are NULL, and of the others only the last days are asked for",
        calls=50,
    ),
    CorpusQuery(
        name="products_of_category_by_price",
        statement=select(Product).where(
            Product.category_id == CATEGORY,
            Product.is_active,
            Product.price_cents.between(bindparam("low"), bindparam("high")),
        ),
        values=by_skew("categories", "category", low=1_000, high=2_500),
        expected=Outcome(
            indexes=(on("products", "category_id, price_cents", "category_id"),),
            instead=(on("products", "is_active, category_id"),),
        ),
        because="equality, then a range; nearly all are active",
        calls=2_000,
    ),
    CorpusQuery(
        name="newest_products_of_category",
        statement=select(Product)
        .where(Product.category_id == CATEGORY, Product.deleted_at.is_(None))
        .order_by(Product.created_at.desc())
        .limit(24),
        values=by_skew("categories", "category"),
        expected=Outcome(
            indexes=(on("products", "category_id, created_at", "category_id"),),
            instead=(
                on(
                    "products",
                    "created_at WHERE deleted_at IS NULL",
                    "category_id, deleted_at",
                    "deleted_at, category_id",
                ),
            ),
        ),
        because="equality and the order; nearly no row is deleted",
        calls=2_500,
    ),
    CorpusQuery(
        name="cheapest_then_newest_of_category",
        statement=select(Product.id, Product.name, Product.price_cents)
        .where(Product.category_id == CATEGORY)
        .order_by(Product.price_cents, Product.created_at.desc())
        .limit(24),
        values=by_skew("categories", "category"),
        expected=BY_CATEGORY,
        because="an order in two directions behind an equality",
        calls=900,
    ),
    CorpusQuery(
        name="products_of_brand",
        statement=text(_BRAND_ON_SQLITE),
        variants={
            "postgresql": text(_BRAND_ON_POSTGRESQL),
            "mariadb": None,
        },
        values=always(*({"brand": f"brand-{number}"} for number in (1, 77, 390))),
        expected=Outcome(indexes=(on("products", "json_extract(attributes, '$.brand')"),)),
        expected_on={
            "postgresql": Outcome(indexes=(on("products", "(attributes ->> 'brand')"),)),
        },
        because="an expression of constants over a document",
        calls=300,
    ),
    CorpusQuery(
        name="cart_of_session",
        statement=select(Cart).where(Cart.session_key == bindparam("session")),
        values=_sessions,
        expected=Outcome(indexes=(on("carts", "session_key"),)),
        because="each visitor's request looks for its cart",
        calls=20_000,
    ),
    CorpusQuery(
        name="carts_left_within_an_hour",
        statement=select(Cart.id, Cart.customer_id).where(
            Cart.updated_at.between(at("since"), at("until"))
        ),
        values=windows(minutes=60),
        expected=Outcome(indexes=(on("carts", "updated_at"),)),
        because="a narrow window of time",
        calls=100,
    ),
    CorpusQuery(
        name="delete_oldest_carts",
        statement=delete(Cart).where(Cart.updated_at < at("until")),
        values=always({"until": BEGIN.replace(day=2)}),
        expected=Outcome(indexes=(on("carts", "updated_at"),)),
        because="a nightly DELETE of a day of 730",
        calls=30,
    ),
    CorpusQuery(
        name="waiting_events",
        statement=text(
            "SELECT id, kind, payload FROM outbox_events WHERE status = 'pending' "
            "ORDER BY created_at LIMIT 100"
        ),
        values=always(),
        expected=Outcome(
            indexes=(
                on(
                    "outbox_events",
                    "created_at WHERE status = 'pending'",
                    "status, created_at",
                    "status",
                ),
            )
        ),
        because="1 row of 2,000 waits, and it is asked for by a constant: a partial index",
        calls=40_000,
    ),
    CorpusQuery(
        name="events_in_state",
        statement=select(func.count()).where(Event.status == bindparam("status")),
        values=always({"status": "failed"}, {"status": "pending"}, {"status": "failed"}),
        expected=Outcome(indexes=(on("outbox_events", "status"),)),
        because="the state is a parameter, and only the rare ones are asked for",
        calls=500,
    ),
    CorpusQuery(
        name="events_of_aggregate",
        statement=select(Event)
        .where(
            Event.aggregate_type == bindparam("kind"), Event.aggregate_id == bindparam("aggregate")
        )
        .order_by(Event.id),
        values=spread("orders", "aggregate", kind="order"),
        expected=Outcome(
            indexes=(
                on(
                    "outbox_events",
                    "aggregate_id",
                    "aggregate_id, aggregate_type",
                    "aggregate_type, aggregate_id",
                ),
            )
        ),
        because="two equalities, of which the second is selective",
        calls=600,
    ),
    CorpusQuery(
        name="failed_payments",
        statement=text(
            "SELECT id, order_id, amount_cents FROM payments "
            "WHERE state = 'failed' AND created_at >= :since"
        ).bindparams(at("since")),
        values=always({"since": ago(days=1)}, {"since": ago(days=7)}),
        expected=Outcome(
            indexes=(
                on(
                    "payments",
                    "state, created_at",
                    "created_at",
                    "created_at WHERE state = 'failed'",
                ),
            )
        ),
        because="a constant of one row in fifty and the last days",
        calls=100,
    ),
    CorpusQuery(
        name="newest_payment",
        statement=select(func.max(Payment.created_at)),
        values=always(),
        expected=Outcome(indexes=(on("payments", "created_at"),)),
        because="the end of an index instead of all rows",
        calls=200,
    ),
    CorpusQuery(
        name="payments_of_a_day",
        statement=text(
            "SELECT provider, sum(amount_cents) AS amount FROM payments "
            "WHERE date(created_at) = :day GROUP BY provider"
        ),
        values=always({"day": "2025-12-24"}, {"day": "2025-03-01"}),
        expected=Outcome(
            indexes=(on("payments", "date(created_at)"),),
        ),
        expected_on={"mariadb": Outcome()},
        because="an expression; MariaDB has none in indexes",
        calls=60,
    ),
    CorpusQuery(
        name="orders_with_coupon",
        statement=select(Order.id, Order.total_cents)
        .join(Coupon, Coupon.id == Order.coupon_id)
        .where(Coupon.code == bindparam("code")),
        values=always(*({"code": f"SAVE{number:05}"} for number in (7, 1_000, 1_900))),
        expected=Outcome(indexes=(on("orders", "coupon_id"),)),
        because="a foreign key that is mostly NULL, without an index",
        calls=80,
    ),
    CorpusQuery(
        name="orders_to_ship",
        statement=text(
            "SELECT id, number FROM orders WHERE status = 'paid' AND shipped_at IS NULL "
            "AND total_cents > 440000 ORDER BY total_cents DESC LIMIT 50"
        ),
        values=always(),
        expected=Outcome(
            indexes=(
                on(
                    "orders",
                    "status, total_cents",
                    "total_cents WHERE status = 'paid'",
                    "status, shipped_at",
                    "shipped_at, status",
                    "status",
                    "total_cents",
                    "shipped_at, total_cents",
                ),
            )
        ),
        because="constants that 15 rows of 1,000 fulfil, and an order",
        calls=200,
    ),
    CorpusQuery(
        name="suspicious_orders",
        statement=text("SELECT count(*) FROM orders WHERE status = 'fraud'"),
        values=always(),
        expected=Outcome(indexes=(on("orders", "status", "id WHERE status = 'fraud'"),)),
        because="1 row of 1,000, asked for by a constant",
        calls=100,
    ),
    CorpusQuery(
        name="largest_orders_of_channel_page",
        statement=select(Order.id, Order.number, Order.total_cents)
        .where(
            Order.channel == bindparam("channel"),
            tuple_(Order.total_cents, Order.id) < tuple_(bindparam("total"), bindparam("last")),
        )
        .order_by(Order.total_cents.desc(), Order.id.desc())
        .limit(50),
        values=_keyset_of_totals,
        expected=Outcome(indexes=(on("orders", "channel, total_cents", "total_cents"),)),
        because="a keyset page of a row value; the order is the index's",
        calls=50,
    ),
    CorpusQuery(
        name="largest_orders",
        statement=select(Order.id, Order.number, Order.total_cents)
        .order_by(Order.total_cents.desc())
        .limit(20),
        values=always(),
        expected=Outcome(indexes=(on("orders", "total_cents"),)),
        because="an order without a condition: an index is read from its end",
        calls=60,
    ),
    CorpusQuery(
        name="note_payments_of_order",
        statement=insert(Event).from_select(
            [
                "id",
                "aggregate_type",
                "aggregate_id",
                "kind",
                "payload",
                "status",
                "attempts",
                "created_at",
            ],
            select(
                Payment.id + 100_000_000,
                literal("payment"),
                Payment.id,
                literal("created"),
                literal("{}"),
                literal("pending"),
                literal(0),
                Payment.created_at,
            ).where(Payment.order_id == bindparam("order")),
        ),
        values=spread("orders", "order"),
        expected=BY_ORDER,
        because="INSERT ... SELECT reads as a SELECT does",
        calls=300,
    ),
    CorpusQuery(
        name="orders_with_failed_payment",
        statement=select(Order.id, Order.number).where(
            Order.id.in_(
                select(Payment.order_id).where(
                    Payment.state == "failed", Payment.created_at >= at("since")
                )
            )
        ),
        values=always({"since": ago(days=1)}, {"since": ago(days=3)}),
        expected=Outcome(indexes=(on("payments", "created_at", "state, created_at"),)),
        because="a subquery over the last days; its state is a parameter",
        calls=80,
    ),
)
