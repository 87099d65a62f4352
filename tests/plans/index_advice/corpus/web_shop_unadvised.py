"""Queries of the web shop for which no index pays, or all that pay are there."""

from __future__ import annotations

from sqlalchemy import (
    bindparam,
    delete,
    exists,
    extract,
    func,
    insert,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)

from corpus.queries import CorpusQuery, Sets, ago, always, at, by_skew, may, on, spread
from corpus.rows import Rows
from corpus.web_shop import (
    Category,
    Coupon,
    Customer,
    Line,
    Order,
    Product,
    Redemption,
    Review,
    email_of,
)

__all__ = ["UNADVISED"]

_below = (
    select(Category.id).where(Category.id == bindparam("category")).cte("below", recursive=True)
)
_below = _below.union_all(select(Category.id).join(_below, Category.parent_id == _below.c.id))
_spent = (
    select(Order.customer_id, func.sum(Order.total_cents).label("spent"))
    .group_by(Order.customer_id)
    .cte("spent")
)


def _keys(rows: Rows) -> Sets:
    return [{"keys": [rows["products"] // (n + 2) for n in range(12)]}]


def _emails(rows: Rows) -> Sets:
    return [{"email": email_of(number)} for number in (1, 500, 9_000)]


def _line_of(rows: Rows) -> Sets:
    return [{"order": rows["orders"] // 3, "product": 17}, {"order": 4, "product": 1}]


def _new_review(rows: Rows) -> Sets:
    return [{
        "id": 100_000_001, "product_id": 1, "customer_id": 1, "stars": 5, "helpful_votes": 0,
        "is_visible": True, "body": "good", "created_at": ago(hours=1),
    }]  # fmt: skip


UNADVISED: tuple[CorpusQuery, ...] = (
    CorpusQuery(
        name="order_by_key",
        statement=select(Order).where(Order.id == bindparam("order")),
        values=spread("orders", "order"),
        because="the primary key serves",
        calls=9_000,
    ),
    CorpusQuery(
        name="customer_by_email",
        statement=select(Customer).where(Customer.email == bindparam("email")),
        values=_emails,
        because="the unique index serves",
        calls=6_000,
    ),
    CorpusQuery(
        name="products_by_keys",
        statement=select(Product).where(Product.id.in_(bindparam("keys", expanding=True))),
        values=_keys,
        because="a list of primary keys",
        calls=3_000,
    ),
    CorpusQuery(
        name="lines_of_order",
        statement=select(Line, Product.name)
        .join(Product, Product.id == Line.product_id)
        .where(Line.order_id == bindparam("order")),
        values=spread("orders", "order"),
        because="the foreign key has its index, the join goes to a primary key",
        calls=5_000,
    ),
    CorpusQuery(
        name="line_of_order_and_product",
        statement=select(Line).where(
            Line.order_id == bindparam("order"), Line.product_id == bindparam("product")
        ),
        values=_line_of,
        because="an order has three lines: what its index finds needs no second column",
        calls=1_000,
    ),
    CorpusQuery(
        name="newest_orders",
        statement=select(Order).order_by(Order.placed_at.desc()).limit(50),
        values=always(),
        because="the order has its index",
        calls=800,
    ),
    CorpusQuery(
        name="orders_of_last_hours",
        statement=select(Order.id, Order.total_cents, Order.status).where(
            Order.placed_at >= at("since")
        ),
        values=always({"since": ago(hours=6)}, {"since": ago(hours=12)}),
        because="the range has its index",
        calls=300,
    ),
    CorpusQuery(
        name="best_reviews_of_product",
        statement=select(Review)
        .where(Review.product_id == bindparam("product"))
        .order_by(Review.helpful_votes.desc())
        .limit(5),
        values=by_skew("products", "product"),
        because="a product has seven reviews on average: its index leaves nothing to gain",
        calls=1_500,
    ),
    CorpusQuery(
        name="redemptions_of_coupon",
        statement=select(func.count()).where(Redemption.coupon_id == bindparam("coupon")),
        values=spread("coupons", "coupon"),
        because="the primary key begins with the coupon",
        calls=200,
    ),
    CorpusQuery(
        name="delivered_orders",
        statement=text("SELECT count(*), sum(total_cents) FROM orders WHERE status = 'delivered'"),
        values=always(),
        because="nine rows of ten",
        calls=20,
    ),
    CorpusQuery(
        name="revenue_by_month",
        statement=select(
            extract("year", Order.placed_at),
            extract("month", Order.placed_at),
            func.sum(Order.total_cents),
        ).group_by(extract("year", Order.placed_at), extract("month", Order.placed_at)),
        values=always(),
        because="an aggregate of the whole table",
        calls=5,
    ),
    CorpusQuery(
        name="best_customers",
        statement=select(Customer.name, _spent.c.spent)
        .join(_spent, _spent.c.customer_id == Customer.id)
        .order_by(_spent.c.spent.desc())
        .limit(10),
        values=always(),
        expected_on={"sqlite": may(on("orders", "customer_id"))},
        because="an aggregate of the whole table; SQLite groups by a covering index (3.3x)",
        calls=3,
    ),
    CorpusQuery(
        name="sold_by_category",
        statement=select(Product.category_id, func.sum(Line.quantity))
        .join(Product, Product.id == Line.product_id)
        .group_by(Product.category_id),
        values=always(),
        expected_on={"sqlite": may(on("order_lines", "product_id, quantity"))},
        because="every line is read; SQLite in the order of a covering index (3.3x)",
        calls=3,
    ),
    CorpusQuery(
        name="customers_named_like",
        statement=select(Customer.id, Customer.name).where(
            Customer.name.contains(bindparam("part"))
        ),
        values=always({"part": "ofia 1"}, {"part": "zz"}),
        because="a leading wildcard",
        calls=60,
    ),
    CorpusQuery(
        name="customers_named_like_in_any_case",
        statement=select(Customer.id, Customer.name).where(
            Customer.name.ilike(bindparam("pattern"))
        ),
        values=always({"pattern": "%OFIA 1%"}),
        because="ILIKE with a leading wildcard: only trigrams would help",
        calls=60,
    ),
    CorpusQuery(
        name="category_by_name",
        statement=select(Category).where(Category.name == bindparam("name")),
        values=always({"name": "Category 17"}),
        because="400 rows, a few pages",
        calls=900,
    ),
    CorpusQuery(
        name="categories_below",
        statement=select(_below.c.id),
        values=spread("categories", "category"),
        because="a recursive walk through 400 rows",
        calls=400,
    ),
    CorpusQuery(
        name="customers_with_newsletter",
        statement=select(func.count()).where(Customer.newsletter, Customer.deleted_at.is_(None)),
        values=always(),
        expected=may(
            on("customers", "deleted_at, newsletter", "newsletter, deleted_at", "deleted_at")
        ),
        because="six rows of ten; what is not wide is counted in an index alone (4x)",
        calls=10,
    ),
    CorpusQuery(
        name="customers_that_are_there",
        statement=text("SELECT id, email, name FROM customers WHERE deleted_at IS NULL LIMIT 500"),
        values=always(),
        because="97 rows of 100: the first 500 are found at once",
        calls=40,
    ),
    CorpusQuery(
        name="any_web_orders",
        statement=select(Order.id).where(Order.channel == bindparam("channel")).limit(10),
        values=always({"channel": "web"}),
        because="LIMIT without an order: ten of six in ten are found at once",
        calls=40,
    ),
    CorpusQuery(
        name="orders_not_done",
        statement=select(func.count()).where(
            Order.status != bindparam("status"), Order.total_cents > bindparam("total")
        ),
        values=always({"status": "delivered", "total": 1_000}),
        because="an inequality, and a range that is nearly the table",
        calls=200,
    ),
    CorpusQuery(
        name="good_reviews",
        statement=select(func.avg(Review.helpful_votes)).where(
            Review.stars >= bindparam("stars"), Review.is_visible.is_(true())
        ),
        values=always({"stars": 4}),
        expected=may(on("reviews", "is_visible, stars", "stars")),
        because="seven rows of ten; an index alone is a tenth of the table (2 to 3x)",
        calls=20,
    ),
    CorpusQuery(
        name="large_lines",
        statement=select(func.count()).where(
            Line.quantity * Line.unit_price_cents > bindparam("cents")
        ),
        values=always({"cents": 20_000}),
        because="a third of the table by an expression",
        calls=5,
    ),
    CorpusQuery(
        name="late_orders",
        statement=text(
            "SELECT count(*) FROM orders WHERE coalesce(shipped_at, placed_at) < :until"
        ).bindparams(at("until")),
        values=always({"until": ago(days=100)}),
        because="most of the table by an expression",
        calls=10,
    ),
    CorpusQuery(
        name="random_products",
        statement=select(Product.id).order_by(func.random()).limit(5),
        variants={"mariadb": select(Product.id).order_by(func.rand()).limit(5)},
        values=always(),
        because="no index has that order",
        calls=50,
    ),
    CorpusQuery(
        name="number_of_orders",
        statement=select(func.count()).select_from(Order),
        values=always(),
        because="all rows are counted",
        calls=30,
    ),
    CorpusQuery(
        name="far_page_of_orders",
        statement=select(Order.id, Order.number)
        .order_by(Order.id)
        .limit(50)
        .offset(bindparam("behind")),
        values=always({"behind": 20_000}),
        because="OFFSET is read row by row; the order is the primary key's",
        calls=20,
    ),
    CorpusQuery(
        name="orders_with_lines",
        statement=select(Order.id).where(
            Order.placed_at >= at("since"), exists().where(Line.order_id == Order.id)
        ),
        values=always({"since": ago(hours=12)}),
        because="the range and EXISTS have their indexes",
        calls=50,
    ),
    CorpusQuery(
        name="order_or_number",
        statement=select(Order).where(
            or_(Order.id == bindparam("order"), Order.number == bindparam("number"))
        ),
        values=always({"order": 55, "number": "2000000077"}),
        because="both sides of OR have their index",
        calls=300,
    ),
    CorpusQuery(
        name="one_of_each",
        statement=union_all(
            select(Product.id, Product.sku).where(Product.id == bindparam("product")),
            select(Coupon.id, Coupon.code).where(Coupon.code == bindparam("code")),
        ),
        values=always({"product": 5, "code": "SAVE00009"}),
        because="both sides of UNION have their index",
        calls=100,
    ),
    CorpusQuery(
        name="products_of_brand_by_path",
        statement=select(Product.id).where(
            Product.attributes["weight"].as_integer() > bindparam("weight")
        ),
        variants={"mariadb": None},
        values=always({"weight": 100}),
        because="nearly all rows; and the path is a parameter, of which no index is made",
        calls=20,
    ),
    CorpusQuery(
        name="write_review",
        statement=insert(Review),
        values=_new_review,
        because="an INSERT looks for nothing",
        calls=500,
    ),
    CorpusQuery(
        name="sell_product",
        statement=update(Product)
        .where(Product.id == bindparam("product"))
        .values(stock=Product.stock - 1),
        values=spread("products", "product"),
        because="an UPDATE by the primary key",
        calls=3_000,
    ),
    CorpusQuery(
        name="delete_review",
        statement=delete(Review).where(Review.id == bindparam("review")),
        values=spread("reviews", "review"),
        because="a DELETE by the primary key",
        calls=20,
    ),
    CorpusQuery(
        name="raise_all_prices",
        statement=update(Product).values(price_cents=Product.price_cents + 1),
        values=always(),
        because="an UPDATE of all rows",
        calls=1,
    ),
)
