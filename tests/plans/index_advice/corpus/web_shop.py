"""A web shop: few customers buy much, few products sell well, and most orders are done.

It has the indexes that an application begins with: keys, unique columns, and those that somebody
thought of when a page was slow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, literal, null
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from corpus.queries import Schema
from corpus.rows import (
    SPAN,
    Document,
    Moment,
    Rows,
    chosen,
    mixed,
    one_of,
    skewed,
    written,
)

__all__ = [
    "FULL", "VIEWS", "Address", "Base", "Cart", "Category", "Coupon", "Customer", "Event", "Line",
    "Order", "Payment", "Product", "Redemption", "Review", "email_of", "phone_of", "reference_of",
    "schema", "session_of",
]  # fmt: skip


class Base(DeclarativeBase):
    type_annotation_map = {str: String(120)}  # noqa: RUF012  # as SQLAlchemy documents it


def _key() -> Any:
    return mapped_column(primary_key=True, autoincrement=False)


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = (Index("uq_customers_email", "email", unique=True),)

    id: Mapped[int] = _key()
    email: Mapped[str]
    name: Mapped[str]
    phone: Mapped[str | None]
    country: Mapped[str] = mapped_column(String(2))
    is_business: Mapped[bool]
    newsletter: Mapped[bool]
    referrer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    created_at: Mapped[dt.datetime]
    deleted_at: Mapped[dt.datetime | None]


class Address(Base):
    __tablename__ = "addresses"

    id: Mapped[int] = _key()
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    kind: Mapped[str] = mapped_column(String(10))
    street: Mapped[str]
    postcode: Mapped[str] = mapped_column(String(12))
    city: Mapped[str]
    is_default: Mapped[bool]


class Category(Base):
    """A tree of 400."""

    __tablename__ = "categories"
    __table_args__ = (Index("uq_categories_slug", "slug", unique=True),)

    id: Mapped[int] = _key()
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    slug: Mapped[str]
    name: Mapped[str]


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (Index("uq_products_sku", "sku", unique=True),)

    id: Mapped[int] = _key()
    sku: Mapped[str] = mapped_column(String(20))
    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id"))
    name: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    is_active: Mapped[bool]
    attributes: Mapped[Any] = mapped_column(JSON().with_variant(JSONB(), "postgresql"))
    created_at: Mapped[dt.datetime]
    deleted_at: Mapped[dt.datetime | None]


class Coupon(Base):
    __tablename__ = "coupons"
    __table_args__ = (Index("uq_coupons_code", "code", unique=True),)

    id: Mapped[int] = _key()
    code: Mapped[str] = mapped_column(String(20))
    percent: Mapped[int]
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime]


class Order(Base):
    """In the order of their moments."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("uq_orders_number", "number", unique=True),
        Index("ix_orders_placed_at", "placed_at"),
    )

    id: Mapped[int] = _key()
    number: Mapped[str] = mapped_column(String(20))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    status: Mapped[str] = mapped_column(String(12))
    channel: Mapped[str] = mapped_column(String(8))
    placed_at: Mapped[dt.datetime]
    shipped_at: Mapped[dt.datetime | None]
    total_cents: Mapped[int]
    coupon_id: Mapped[int | None] = mapped_column(ForeignKey("coupons.id"))
    note: Mapped[str]


class Line(Base):
    __tablename__ = "order_lines"
    __table_args__ = (Index("ix_order_lines_order_id", "order_id"),)

    id: Mapped[int] = _key()
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]
    returned_at: Mapped[dt.datetime | None]


class Payment(Base):
    __tablename__ = "payments"

    id: Mapped[int] = _key()
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    provider: Mapped[str] = mapped_column(String(10))
    provider_reference: Mapped[str] = mapped_column(String(30))
    state: Mapped[str] = mapped_column(String(10))
    amount_cents: Mapped[int]
    created_at: Mapped[dt.datetime]


class Review(Base):
    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_product_id", "product_id"),)

    id: Mapped[int] = _key()
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    stars: Mapped[int]
    helpful_votes: Mapped[int]
    is_visible: Mapped[bool]
    body: Mapped[str] = mapped_column(String(400))
    created_at: Mapped[dt.datetime]


class Cart(Base):
    __tablename__ = "carts"

    id: Mapped[int] = _key()
    session_key: Mapped[str] = mapped_column(String(40))
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    converted: Mapped[bool]
    updated_at: Mapped[dt.datetime]


class Redemption(Base):
    __tablename__ = "redemptions"

    coupon_id: Mapped[int] = mapped_column(ForeignKey("coupons.id"), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    redeemed_at: Mapped[dt.datetime]


class Event(Base):
    """An outbox: three of four thousand wait to be sent."""

    __tablename__ = "outbox_events"

    id: Mapped[int] = _key()
    aggregate_type: Mapped[str] = mapped_column(String(12))
    aggregate_id: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    payload: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int]
    created_at: Mapped[dt.datetime]


VIEWS = (
    "CREATE VIEW unshipped_orders AS SELECT id, number, customer_id, placed_at, total_cents "
    "FROM orders WHERE shipped_at IS NULL AND status <> 'cancelled'",
)

FULL: Rows = {
    "customers": 200_000,
    "addresses": 260_000,
    "categories": 400,
    "products": 20_000,
    "coupons": 2_000,
    "orders": 600_000,
    "order_lines": 1_500_000,
    "payments": 620_000,
    "reviews": 150_000,
    "carts": 120_000,
    "redemptions": 60_000,
    "outbox_events": 300_000,
}
#: These keep their size at any scale.
SMALL = frozenset({"categories", "coupons", "products"})


#: Salts of what callers look up, and bounds.
_EMAIL, _PHONE = (2, 900), (5, 9_000_000)
_REFERENCE, _SESSION = 2, 1


def email_of(n: int) -> str:
    """The e-mail address of a customer by its key."""
    return f"User.{mixed(n, *_EMAIL) + 100}.{n}@example.org"


def phone_of(n: int) -> str:
    """The number of a customer, if there is one."""
    return f"+49 30 {mixed(n, *_PHONE)}"


def reference_of(n: int) -> str:
    """What a provider calls a payment."""
    return f"ref-{mixed(n, _REFERENCE)}-{n}"


def session_of(n: int) -> str:
    """The session of a cart by its key."""
    return f"s-{mixed(n, _SESSION)}-{n}"


def schema(queries: Any) -> Schema:
    """The schema with its workload."""
    return Schema(
        name="web_shop",
        metadata=Base.metadata,
        full=FULL,
        small=SMALL,
        contents=_CONTENTS,
        views=VIEWS,
        queries=queries,
    )


def _in_order(n: Any, count: int, salt: int) -> Any:
    """A moment; later rows have later ones, but for an hour or so."""
    return Moment(n * (SPAN - 7_200) // count + mixed(n, salt, 7_200))


def _customers(n: Any, rows: Rows) -> Mapping[str, Any]:
    count = rows["customers"]
    first = one_of(
        mixed(n, 1, 16), "Maria", "Anna", "Peter", "Luca", "Emma", "Noah", "Mia", "Ben",
        "Olga", "Ivan", "Chen", "Sofia", "Omar", "Lena", "Paul", "Zoe",
    )  # fmt: skip
    return {
        "id": n,
        "email": "User." + written(mixed(n, *_EMAIL) + 100) + "." + written(n) + "@example.org",
        "name": first + " " + written(mixed(n, 3, 20_000)),
        "phone": chosen(mixed(n, 4, 10), {null(): 3}, "+49 30 " + written(mixed(n, *_PHONE))),
        "country": chosen(
            mixed(n, 6, 1_000),
            {"DE": 600, "AT": 120, "CH": 100, "FR": 80, "NL": 50, "PL": 30, "LU": 3, "LI": 1},
            "XX",
        ),
        "is_business": mixed(n, 7, 50) == 0,
        "newsletter": mixed(n, 8, 10) < 6,
        "referrer_id": chosen(mixed(n, 9, 20), {mixed(n, 10, count) + 1: 1}, null()),
        "created_at": _in_order(n, count, 11),
        "deleted_at": chosen(mixed(n, 12, 100), {Moment(mixed(n, 13, SPAN)): 3}, null()),
    }


def _addresses(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "customer_id": n % rows["customers"] + 1,
        "kind": one_of(mixed(n, 1, 2), "billing", "shipping"),
        "street": "Street of the " + written(mixed(n, 2, 9_000)) + "th house",
        "postcode": written(mixed(n, 3, 100_000), 5),
        "city": "City " + written(skewed(n, 4, 3_000)),
        "is_default": mixed(n, 5, 10) < 7,
    }


def _categories(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "parent_id": chosen(n, {null(): 9}, n // 4),
        "slug": "category-" + written(n),
        "name": "Category " + written(n),
    }


def _products(n: Any, rows: Rows) -> Mapping[str, Any]:
    brand = "brand-" + written(skewed(n, 1, 400))
    attributes = '{"brand": "' + brand + '", "weight": ' + written(mixed(n, 2, 5_000)) + "}"
    return {
        "id": n,
        "sku": one_of(mixed(n, 3, 4), "AB-", "CD-", "EF-", "GH-") + written(n, 7),
        "category_id": skewed(n, 4, rows["categories"]),
        "name": "Product " + written(mixed(n, 5, 100_000)),
        "price_cents": mixed(n, 6, 20_000) + 99,
        "stock": mixed(n, 7, 200),
        "is_active": mixed(n, 8, 20) > 0,
        "attributes": Document(attributes),
        "created_at": _in_order(n, rows["products"], 9),
        "deleted_at": chosen(mixed(n, 10, 20), {Moment(mixed(n, 11, SPAN)): 1}, null()),
    }


def _coupons(n: Any, rows: Rows) -> Mapping[str, Any]:
    begins = n * (SPAN - 5_184_000) // rows["coupons"]
    return {
        "id": n,
        "code": "SAVE" + written(n, 5),
        "percent": mixed(n, 1, 30) + 5,
        "valid_from": Moment(begins),
        "valid_until": Moment(begins + 2_592_000),
    }


def _orders(n: Any, rows: Rows) -> Mapping[str, Any]:
    count = rows["orders"]
    placed = n * (SPAN - 7_200) // count + mixed(n, 1, 7_200)
    state = mixed(n, 2, 1_000)
    return {
        "id": n,
        "number": "2" + written(n, 9),
        "customer_id": skewed(n, 3, rows["customers"]),
        "status": chosen(
            state,
            {"paid": 15, "pending": 4, "fraud": 1, "cancelled": 40, "shipped": 40},
            "delivered",
        ),
        "channel": chosen(mixed(n, 4, 10), {"web": 6, "app": 3}, "phone"),
        "placed_at": Moment(placed),
        "shipped_at": chosen(state, {null(): 60}, Moment(placed + 90_000)),
        "total_cents": mixed(n, 5, 50_000) * mixed(n, 6, 10) + 500,
        "coupon_id": chosen(mixed(n, 7, 10), {mixed(n, 8, rows["coupons"]) + 1: 1}, null()),
        "note": chosen(mixed(n, 9, 10), {"leave at the neighbour's, please": 3}, ""),
    }


def _lines(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "order_id": (n * 2 + mixed(n, 1, 3)) // 5 % rows["orders"] + 1,
        "product_id": skewed(n, 2, rows["products"]),
        "quantity": mixed(n, 3, 4) + 1,
        "unit_price_cents": mixed(n, 4, 20_000) + 99,
        "returned_at": chosen(mixed(n, 5, 50), {Moment(mixed(n, 6, SPAN)): 1}, null()),
    }


def _payments(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "order_id": n % rows["orders"] + 1,
        "provider": chosen(mixed(n, 1, 10), {"card": 5, "wallet": 4}, "invoice"),
        "provider_reference": "ref-" + written(mixed(n, _REFERENCE)) + "-" + written(n),
        "state": chosen(mixed(n, 3, 1_000), {"failed": 20, "pending": 3, "disputed": 1}, "settled"),
        "amount_cents": mixed(n, 4, 60_000) + 500,
        "created_at": _in_order(n, rows["payments"], 5),
    }


def _reviews(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "product_id": skewed(n, 1, rows["products"]),
        "customer_id": skewed(n, 2, rows["customers"]),
        "stars": chosen(mixed(n, 3, 10), {5: 5, 4: 2, 1: 1, 2: 1}, 3),
        "helpful_votes": mixed(n, 4, 30) * mixed(n, 5, 10),
        "is_visible": mixed(n, 6, 50) > 0,
        "body": literal("It came in time, and it does what it is for. " * 4) + written(n),
        "created_at": _in_order(n, rows["reviews"], 7),
    }


def _carts(n: Any, rows: Rows) -> Mapping[str, Any]:
    customer = skewed(n, 3, rows["customers"])
    return {
        "id": n,
        "session_key": "s-" + written(mixed(n, _SESSION)) + "-" + written(n),
        "customer_id": chosen(mixed(n, 4, 10), {null(): 6}, customer),
        "converted": mixed(n, 5, 10) < 4,
        "updated_at": _in_order(n, rows["carts"], 6),
    }


def _redemptions(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "coupon_id": mixed(n, 1, rows["coupons"]) + 1,
        "order_id": n * 10,
        "customer_id": skewed(n, 2, rows["customers"]),
        "redeemed_at": _in_order(n, rows["redemptions"], 3),
    }


def _events(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "aggregate_type": chosen(mixed(n, 1, 10), {"order": 6, "payment": 3}, "product"),
        "aggregate_id": mixed(n, 2, rows["orders"]) + 1,
        "kind": one_of(mixed(n, 3, 4), "created", "changed", "closed", "noted"),
        "payload": literal('{"note": "as it was sent to the others, more or less", "n": ')
        + written(n)
        + "}",
        "status": chosen(mixed(n, 4, 10_000), {"pending": 5, "failed": 3}, "done"),
        "attempts": mixed(n, 5, 3),
        "created_at": _in_order(n, rows["outbox_events"], 6),
    }


_CONTENTS = {
    "customers": _customers,
    "addresses": _addresses,
    "categories": _categories,
    "products": _products,
    "coupons": _coupons,
    "orders": _orders,
    "order_lines": _lines,
    "payments": _payments,
    "reviews": _reviews,
    "carts": _carts,
    "redemptions": _redemptions,
    "outbox_events": _events,
}
