"""Queries of the web shop for which an index pays."""

from __future__ import annotations

from sqlalchemy import (
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from corpus.queries import (
    CorpusQuery,
    Outcome,
    Sets,
    Values,
    ago,
    always,
    at,
    by_skew,
    on,
    spread,
)
from corpus.rows import BEGIN, Rows, drawn
from corpus.web_shop import (
    Address,
    Cart,
    Coupon,
    Customer,
    Event,
    Line,
    Order,
    Payment,
    Product,
    Redemption,
    Review,
    email_of,
    phone_of,
    reference_of,
    session_of,
)

__all__ = ["ADVISED"]

CUSTOMER = bindparam("customer")
PRODUCT = bindparam("product")
CATEGORY = bindparam("category")

OF_CUSTOMER = on("orders", "customer_id, placed_at", "customer_id")
BY_CUSTOMER = Outcome(indexes=(OF_CUSTOMER,))
CARTS = on("carts", "customer_id", "customer_id, updated_at", "customer_id, converted")
CART_OF_CUSTOMER = Outcome(
    indexes=(CARTS,),
    instead=(on("carts", "converted, customer_id", "updated_at WHERE converted"),),
)
OF_PRODUCT = on("order_lines", "product_id")
BY_PRODUCT = Outcome(indexes=(OF_PRODUCT,))
BY_CATEGORY = Outcome(indexes=(on("products", "category_id"),))
BY_ORDER = Outcome(indexes=(on("payments", "order_id"),))
REFERRED = Outcome(indexes=(on("customers", "referrer_id"),))
OF_CUSTOMER_S_REVIEWS = on("reviews", "customer_id")


def _customers(rows: Rows) -> Sets:
    """Twenty at a time, as a list in an application shows them."""
    count = rows["customers"]
    return [
        {"customers": [drawn(count, (page * 20 + place + 1) / 82) for place in range(20)]}
        for page in range(4)
    ]


def _references(rows: Rows) -> Sets:
    """The last is one that nobody has: a wrong answer from a provider."""
    known = [reference_of(rows["payments"] // part) for part in (1, 3)]
    return [{"provider": "card", "reference": reference} for reference in (*known, "ref-1-1")]


def _sessions(rows: Rows) -> Sets:
    """The last is one of a new visitor."""
    known = [session_of(rows["carts"] // part) for part in (1, 3)]
    return [{"session": session} for session in (*known, "s-1-1")]


def _contacts(rows: Rows) -> Sets:
    return [
        {"phone": phone_of(number), "email": email_of(number + 1)} for number in (4711, 815, 99)
    ]


def _emails(rows: Rows) -> Sets:
    return [{"email": email_of(number)} for number in (1, 500, 9_000)]


def _emails_in_lower_case(rows: Rows) -> Sets:
    return [{"email": email_of(number).lower()} for number in (1, 500, 9_000)]


def _keyset_of_totals(rows: Rows) -> Sets:
    return [
        {"channel": "phone", "total": total, "last": rows["orders"] // 2}
        for total in (450_000, 300_000, 40_000)
    ]


def _pages_of_customer(rows: Rows) -> Sets:
    return [
        {"customer": drawn(rows["customers"], draw), "moment": ago(days=90), "last": rows["orders"]}
        for draw in (0.02, 0.1, 0.5)
    ]


def _days(**span: float) -> Values:
    return always(
        *({"since": ago(**span, hours=n), "until": ago(hours=n)} for n in (0, 900, 9_000))
    )


_placer, _referred, _line, _other = aliased(Customer), aliased(Customer), Line, aliased(Line)
_mine = select(Order.id).where(Order.customer_id == CUSTOMER).cte("mine")
_view = table("unshipped_orders", column("id"), column("number"), column("customer_id"))
_ranked = (
    select(
        Order.id,
        Order.customer_id,
        func.row_number()
        .over(partition_by=Order.customer_id, order_by=Order.placed_at.desc())
        .label("rank"),
    )
    .where(Order.customer_id.in_(bindparam("customers", expanding=True)))
    .subquery("ranked")
)
_tree = (
    select(Customer.id, literal(0).label("depth"))
    .where(Customer.id == CUSTOMER)
    .cte("tree", recursive=True)
)
_tree = _tree.union_all(
    select(Customer.id, _tree.c.depth + 1)
    .join(_tree, Customer.referrer_id == _tree.c.id)
    .where(_tree.c.depth < 3)
)
_BRAND_ON_SQLITE = (
    "SELECT id, sku, name FROM products WHERE json_extract(attributes, '$.brand') = :brand"
)
_BRAND_ON_POSTGRESQL = "SELECT id, sku, name FROM products WHERE attributes ->> 'brand' = :brand"
_BRAND_ON_MARIADB = (
    "SELECT id, sku, name FROM products WHERE json_value(attributes, '$.brand') = :brand"
)

ADVISED: tuple[CorpusQuery, ...] = (
    CorpusQuery(
        name="newest_orders_of_customer",
        statement=select(Order)
        .where(Order.customer_id == CUSTOMER)
        .order_by(Order.placed_at.desc())
        .limit(20),
        values=by_skew("customers", "customer"),
        expected=BY_CUSTOMER,
        because="a foreign key without an index: one customer of 200,000, newest first",
        calls=5_000,
    ),
    CorpusQuery(
        name="orders_of_customer_by_status",
        statement=select(Order).where(
            Order.customer_id == CUSTOMER, Order.status == bindparam("status")
        ),
        values=by_skew("customers", "customer", status="shipped"),
        expected=Outcome(
            indexes=(on("orders", "customer_id, status", "customer_id", "status, customer_id"),)
        ),
        because="the customer is selective, the status adds little",
        calls=900,
    ),
    CorpusQuery(
        name="orders_of_customer_since",
        statement=select(Order.id, Order.number, Order.total_cents).where(
            Order.customer_id == CUSTOMER, Order.placed_at >= at("since")
        ),
        values=by_skew("customers", "customer", since=ago(days=365)),
        expected=BY_CUSTOMER,
        because="equality and a range: the range on placed_at alone covers half of the table",
        calls=700,
    ),
    CorpusQuery(
        name="orders_of_customer_page",
        statement=select(Order)
        .where(
            Order.customer_id == CUSTOMER,
            or_(
                Order.placed_at < at("moment"),
                and_(Order.placed_at == at("moment"), Order.id < bindparam("last")),
            ),
        )
        .order_by(Order.placed_at.desc(), Order.id.desc())
        .limit(20),
        values=_pages_of_customer,
        expected=BY_CUSTOMER,
        because="a keyset page: equality, then the order, which the condition continues",
        calls=800,
    ),
    CorpusQuery(
        name="number_of_orders_by_status_of_customer",
        statement=select(Order.status, func.count())
        .where(Order.customer_id == CUSTOMER)
        .group_by(Order.status),
        values=by_skew("customers", "customer"),
        expected=Outcome(indexes=(on("orders", "customer_id", "customer_id, status"),)),
        because="equality; the status behind it would cover and group",
        calls=600,
    ),
    CorpusQuery(
        name="spent_by_customer",
        statement=text(
            "SELECT sum(total_cents) AS spent, count(*) AS orders FROM orders "
            "WHERE customer_id = :customer AND status <> 'cancelled'"
        ),
        values=by_skew("customers", "customer"),
        expected=Outcome(indexes=(on("orders", "customer_id"),)),
        because="the customer is selective, <> is not",
        calls=900,
    ),
    CorpusQuery(
        name="addresses_of_customer",
        statement=select(Address).where(Address.customer_id == CUSTOMER),
        values=spread("customers", "customer"),
        expected=Outcome(indexes=(on("addresses", "customer_id"),)),
        because="a foreign key without an index, loaded lazily",
        calls=4_000,
    ),
    CorpusQuery(
        name="default_address",
        statement=select(Address).where(
            Address.customer_id == CUSTOMER,
            Address.kind == bindparam("kind"),
            Address.is_default.is_(true()),
        ),
        values=spread("customers", "customer", kind="shipping"),
        expected=Outcome(
            indexes=(on("addresses", "customer_id", "customer_id, kind", "kind, customer_id"),)
        ),
        because="the customer is selective, kind and is_default are not",
        calls=1_500,
    ),
    CorpusQuery(
        name="customers_near_postcode",
        statement=select(Address.id, Address.city)
        .where(Address.postcode.between(bindparam("low"), bindparam("high")))
        .limit(200),
        values=always({"low": "10115", "high": "10119"}, {"low": "80331", "high": "80339"}),
        expected=Outcome(indexes=(on("addresses", "postcode"),)),
        because="BETWEEN over some 20 rows of 260,000",
        calls=60,
    ),
    CorpusQuery(
        name="postcode_begins",
        statement=text("SELECT id, city FROM addresses WHERE postcode LIKE '1011%'"),
        values=always(),
        expected=Outcome(
            indexes=(on(
                    "addresses", "postcode varchar_pattern_ops", "postcode text_pattern_ops",
                    "postcode",
                ),),
        ),
        expected_on={
            "sqlite": Outcome(indexes=(on("addresses", "postcode COLLATE NOCASE"),)),
            "mariadb": Outcome(indexes=(on("addresses", "postcode"),)),
        },
        because="a prefix, in the order that LIKE compares by",
        calls=40,
    ),
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
                    "payments", "provider_reference", "provider_reference, provider",
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
        name="payments_of_customer",
        statement=select(Order.number, Payment.provider, Payment.amount_cents)
        .join(Payment, Payment.order_id == Order.id)
        .where(Order.customer_id == CUSTOMER),
        values=by_skew("customers", "customer"),
        expected=Outcome(indexes=(OF_CUSTOMER, on("payments", "order_id"))),
        because="both sides lack an index: the filter's and the join's",
        calls=300,
    ),
    CorpusQuery(
        name="lines_of_product",
        statement=select(Line)
        .where(Line.product_id == PRODUCT)
        .order_by(Line.id.desc())
        .limit(50),
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
        .select_from(_line)
        .join(_other, _other.order_id == _line.order_id)
        .where(_line.product_id == PRODUCT, _other.product_id != PRODUCT)
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
                    "products", "created_at WHERE deleted_at IS NULL",
                    "category_id, deleted_at", "deleted_at, category_id",
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
        name="reviews_of_customer",
        statement=select(Review).where(Review.customer_id == CUSTOMER),
        values=by_skew("customers", "customer"),
        expected=Outcome(indexes=(OF_CUSTOMER_S_REVIEWS,)),
        because="a foreign key without an index",
        calls=400,
    ),
    CorpusQuery(
        name="newest_reviews_of_several_customers",
        statement=select(
            Review.id,
            Review.customer_id,
            func.row_number().over(
                partition_by=Review.customer_id, order_by=Review.created_at.desc()
            ),
        ).where(Review.customer_id.in_(bindparam("customers", expanding=True))),
        values=_customers,
        expected=Outcome(indexes=(OF_CUSTOMER_S_REVIEWS,)),
        because="a list of keys under a window",
        calls=80,
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
        name="open_cart_of_customer",
        statement=select(Cart)
        .where(Cart.customer_id == CUSTOMER, ~Cart.converted)
        .order_by(Cart.updated_at.desc())
        .limit(1),
        values=by_skew("customers", "customer"),
        expected=CART_OF_CUSTOMER,
        because="the customer is selective; the flag is not",
        calls=3_000,
    ),
    CorpusQuery(
        name="close_carts_of_customer",
        statement=update(Cart).where(Cart.customer_id == CUSTOMER).values(converted=True),
        values=by_skew("customers", "customer"),
        expected=CART_OF_CUSTOMER,
        because="an UPDATE finds its rows as a SELECT does",
        calls=700,
    ),
    CorpusQuery(
        name="carts_left_within_an_hour",
        statement=select(Cart.id, Cart.customer_id).where(
            Cart.updated_at.between(at("since"), at("until"))
        ),
        values=_days(minutes=60),
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
                    "outbox_events", "created_at WHERE status = 'pending'", "status, created_at",
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
                    "outbox_events", "aggregate_id", "aggregate_id, aggregate_type",
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
                    "payments", "state, created_at", "created_at",
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
        name="customer_by_email_in_any_case",
        statement=text("SELECT id, name FROM customers WHERE lower(email) = lower(:email)"),
        values=_emails_in_lower_case,
        expected=Outcome(indexes=(on("customers", "lower(email)"),)),
        expected_on={"mariadb": Outcome()},
        because="the unique index is on the column, not on the expression",
        calls=4_000,
    ),
    CorpusQuery(
        name="customer_by_contact",
        statement=select(Customer.id, Customer.name).where(
            or_(Customer.phone == bindparam("phone"), Customer.email == bindparam("email"))
        ),
        values=_contacts,
        expected=Outcome(indexes=(on("customers", "phone"),)),
        because="OR over two columns: e-mail has its index, so the phone's makes both usable",
        calls=500,
    ),
    CorpusQuery(
        name="customers_deleted_long_ago",
        statement=select(Customer.id).where(
            Customer.deleted_at.is_not(None), Customer.deleted_at < at("until")
        ),
        values=always({"until": BEGIN.replace(day=8)}, {"until": BEGIN.replace(day=4)}),
        expected=Outcome(indexes=(on("customers", "deleted_at"),)),
        because="97 of 100 are NULL, and of the others few are that old",
        calls=30,
    ),
    CorpusQuery(
        name="business_customers_of_small_country",
        statement=text(
            "SELECT id, name FROM customers WHERE is_business = true AND country = :country"
        ),
        values=always({"country": "LI"}, {"country": "LU"}),
        expected=Outcome(
            indexes=(
                on(
                    "customers", "country, is_business", "country WHERE is_business = true",
                    "is_business, country", "country",
                ),
            )
        ),
        because="a flag of one row in fifty, and small countries",
        calls=40,
    ),
    CorpusQuery(
        name="customers_since_yesterday",
        statement=select(func.count()).where(Customer.created_at >= at("since")),
        values=always({"since": ago(days=1)}, {"since": ago(days=2)}),
        expected=Outcome(indexes=(on("customers", "created_at"),)),
        because="a narrow window at the end",
        calls=300,
    ),
    CorpusQuery(
        name="referred_by",
        statement=select(_referred.id, _referred.name)
        .join(_placer, _referred.referrer_id == _placer.id)
        .where(_placer.email == bindparam("email")),
        values=_emails,
        expected=REFERRED,
        because="a self join from a unique e-mail to a foreign key without an index",
        calls=200,
    ),
    CorpusQuery(
        name="tree_of_referrals",
        statement=select(_tree.c.depth, func.count()).group_by(_tree.c.depth),
        values=spread("customers", "customer"),
        expected=REFERRED,
        because="a recursive CTE looks for children at every level",
        calls=100,
    ),
    CorpusQuery(
        name="new_customers_without_order",
        statement=select(Customer.id, Customer.email).where(
            Customer.created_at.between(at("since"), at("until")),
            ~exists().where(Order.customer_id == Customer.id),
        ),
        values=_days(days=1),
        expected=Outcome(indexes=(OF_CUSTOMER, on("customers", "created_at"))),
        because="NOT EXISTS for each customer of a day",
        calls=40,
    ),
    CorpusQuery(
        name="last_order_of_customers",
        statement=select(
            Customer.id,
            Customer.name,
            select(func.max(Order.placed_at))
            .where(Order.customer_id == Customer.id)
            .scalar_subquery()
            .label("last"),
        ).where(Customer.id.in_(bindparam("customers", expanding=True))),
        values=_customers,
        expected=BY_CUSTOMER,
        because="a subquery for each of 20 customers",
        calls=200,
    ),
    CorpusQuery(
        name="newest_orders_of_several_customers",
        statement=select(_ranked.c.id, _ranked.c.customer_id).where(_ranked.c.rank <= 3),
        values=_customers,
        expected=BY_CUSTOMER,
        because="the newest of a group, by a window over a list of keys",
        calls=150,
    ),
    CorpusQuery(
        name="what_customer_bought",
        statement=select(Order.number, Product.name, Line.quantity)
        .select_from(Customer)
        .join(Order, Order.customer_id == Customer.id)
        .join(Line, Line.order_id == Order.id)
        .join(Product, Product.id == Line.product_id)
        .where(Customer.id == CUSTOMER)
        .order_by(Order.placed_at.desc(), Line.id)
        .limit(50),
        values=by_skew("customers", "customer"),
        expected=BY_CUSTOMER,
        because="four tables; all keys but one have their index",
        calls=600,
    ),
    CorpusQuery(
        name="lines_of_customer_by_cte",
        statement=select(func.count(), func.sum(Line.quantity * Line.unit_price_cents)).where(
            Line.order_id.in_(select(_mine.c.id))
        ),
        values=by_skew("customers", "customer"),
        expected=BY_CUSTOMER,
        because="a CTE that is a filter by a foreign key",
        calls=200,
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
        name="customer_has_redeemed",
        statement=select(
            exists().where(
                Redemption.customer_id == CUSTOMER, Redemption.redeemed_at >= at("since")
            )
        ),
        values=by_skew("customers", "customer", since=ago(days=30)),
        expected=Outcome(
            indexes=(on("redemptions", "customer_id, redeemed_at", "customer_id", "redeemed_at"),)
        ),
        because="EXISTS stops at the first row, but mostly there is none",
        calls=1_500,
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
                    "orders", "status, total_cents", "total_cents WHERE status = 'paid'",
                    "status, shipped_at", "shipped_at, status", "status", "total_cents",
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
        expected=Outcome(
            indexes=(on("orders", "status", "id WHERE status = 'fraud'"),)
        ),
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
        expected=Outcome(
            indexes=(on("orders", "channel, total_cents", "total_cents"),)
        ),
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
        name="unshipped_orders_of_customer",
        statement=select(_view.c.id, _view.c.number).where(_view.c.customer_id == CUSTOMER),
        values=by_skew("customers", "customer"),
        expected=BY_CUSTOMER,
        because="a view is its query",
        calls=400,
    ),
    CorpusQuery(
        name="timeline_of_customer",
        statement=union_all(
            select(Order.id, Order.placed_at.label("moment")).where(Order.customer_id == CUSTOMER),
            select(Review.id, Review.created_at).where(Review.customer_id == CUSTOMER),
        ).order_by("moment"),
        values=by_skew("customers", "customer"),
        expected=Outcome(indexes=(OF_CUSTOMER, OF_CUSTOMER_S_REVIEWS)),
        because="each side of a UNION has its filter",
        calls=150,
    ),
    CorpusQuery(
        name="note_payments_of_order",
        statement=insert(Event).from_select(
            [
                "id", "aggregate_type", "aggregate_id", "kind", "payload", "status", "attempts",
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
)  # fmt: skip
