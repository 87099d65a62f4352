"""Queries of the web shop about customers, for which an index pays."""

from __future__ import annotations

from sqlalchemy import (
    and_,
    bindparam,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    table,
    text,
    true,
    union_all,
    update,
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
from corpus.rows import BEGIN, Rows, drawn
from corpus.web_shop import (
    Address,
    Cart,
    Customer,
    Line,
    Order,
    Payment,
    Product,
    Redemption,
    Review,
    email_of,
    phone_of,
)

__all__ = ["OF_CUSTOMERS"]

CUSTOMER = bindparam("customer")
OF_CUSTOMER = on("orders", "customer_id, placed_at", "customer_id")
BY_CUSTOMER = Outcome(indexes=(OF_CUSTOMER,))
CARTS = on("carts", "customer_id", "customer_id, updated_at", "customer_id, converted")
CART_OF_CUSTOMER = Outcome(
    indexes=(CARTS,),
    instead=(on("carts", "converted, customer_id", "updated_at WHERE converted"),),
)
REFERRED = Outcome(indexes=(on("customers", "referrer_id"),))
OF_CUSTOMER_S_REVIEWS = on("reviews", "customer_id")


def _customers(rows: Rows) -> Sets:
    """Twenty at a time, as a list in an application shows them."""
    count = rows["customers"]
    return [
        {"customers": [drawn(count, (page * 20 + place + 1) / 82) for place in range(20)]}
        for page in range(4)
    ]


def _contacts(rows: Rows) -> Sets:
    return [
        {"phone": phone_of(number), "email": email_of(number + 1)} for number in (4711, 815, 99)
    ]


def _emails(rows: Rows) -> Sets:
    return [{"email": email_of(number)} for number in (1, 500, 9_000)]


def _emails_in_lower_case(rows: Rows) -> Sets:
    return [{"email": email_of(number).lower()} for number in (1, 500, 9_000)]


def _pages_of_customer(rows: Rows) -> Sets:
    return [
        {"customer": drawn(rows["customers"], draw), "moment": ago(days=90), "last": rows["orders"]}
        for draw in (0.02, 0.1, 0.5)
    ]


_placer = aliased(Customer)
_referred = aliased(Customer)
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


OF_CUSTOMERS: tuple[CorpusQuery, ...] = (
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
            indexes=(
                on(
                    "addresses",
                    "postcode varchar_pattern_ops",
                    "postcode text_pattern_ops",
                    "postcode",
                ),
            ),
        ),
        expected_on={
            "sqlite": Outcome(indexes=(on("addresses", "postcode COLLATE NOCASE"),)),
            "mariadb": Outcome(indexes=(on("addresses", "postcode"),)),
        },
        because="a prefix, in the order that LIKE compares by",
        calls=40,
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
                    "customers",
                    "country, is_business",
                    "country WHERE is_business = true",
                    "is_business, country",
                    "country",
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
        values=windows(days=1),
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
)
