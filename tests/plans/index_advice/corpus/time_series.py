"""Readings of sensors in the order of time: few sensors report often, few alerts are open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, String, cast, literal, null
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from corpus.queries import Schema
from corpus.rows import SPAN, Moment, Rows, chosen, mixed, one_of, skewed, written

__all__ = [
    "FULL", "HOURS", "Alert", "Base", "Device", "Hourly", "Maintenance", "Reading", "Sensor",
    "Site", "schema",
]  # fmt: skip

#: Of the hourly aggregates, the last of the data's time; a small scale has fewer sensors.
HOURS = 120


class Base(DeclarativeBase):
    type_annotation_map = {str: String(120)}  # noqa: RUF012  # as SQLAlchemy documents it


def _key() -> Any:
    return mapped_column(primary_key=True, autoincrement=False)


class Site(Base):
    __tablename__ = "sites"

    id: Mapped[int] = _key()
    name: Mapped[str]
    region: Mapped[str] = mapped_column(String(10))


class Device(Base):
    __tablename__ = "devices"
    __table_args__ = (Index("uq_devices_serial", "serial", unique=True),)

    id: Mapped[int] = _key()
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    serial: Mapped[str] = mapped_column(String(20))
    model: Mapped[str] = mapped_column(String(20))
    firmware: Mapped[str] = mapped_column(String(20))
    retired_at: Mapped[dt.datetime | None]


class Sensor(Base):
    __tablename__ = "sensors"

    id: Mapped[int] = _key()
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    quantity: Mapped[str] = mapped_column(String(20))
    unit: Mapped[str] = mapped_column(String(10))


class Reading(Base):
    """In the order of time."""

    __tablename__ = "readings"
    __table_args__ = (Index("ix_readings_recorded_at", "recorded_at"),)

    id: Mapped[int] = _key()
    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensors.id"))
    recorded_at: Mapped[dt.datetime]
    value: Mapped[float] = mapped_column(Double())
    quality: Mapped[str] = mapped_column(String(8))
    batch_id: Mapped[int]


class Alert(Base):
    __tablename__ = "alerts"

    id: Mapped[int] = _key()
    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensors.id"))
    severity: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]
    raised_at: Mapped[dt.datetime]
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[dt.datetime | None]


class Hourly(Base):
    __tablename__ = "hourly"

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensors.id"), primary_key=True)
    hour: Mapped[dt.datetime] = mapped_column(primary_key=True)
    mean: Mapped[float] = mapped_column(Double())
    lowest: Mapped[float] = mapped_column(Double())
    highest: Mapped[float] = mapped_column(Double())
    readings: Mapped[int]


class Maintenance(Base):
    __tablename__ = "maintenance_windows"

    id: Mapped[int] = _key()
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime]
    technician: Mapped[str]


FULL: Rows = {
    "sites": 40,
    "devices": 1_000,
    "sensors": 4_000,
    "readings": 2_200_000,
    "alerts": 120_000,
    "hourly": 480_000,
    "maintenance_windows": 40_000,
}
#: These keep their size at any scale.
SMALL = frozenset({"sites", "devices", "sensors"})


def schema(queries: Any) -> Schema:
    """The schema with its workload."""
    return Schema(
        name="time_series",
        metadata=Base.metadata,
        full=FULL,
        small=SMALL,
        contents=_CONTENTS,
        queries=queries,
    )


def _in_order(n: Any, count: int) -> Any:
    return n * (SPAN - 60) // count


def _sites(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "name": "Site " + written(n),
        "region": one_of(n % 4, "north", "east", "south", "west"),
    }


def _devices(n: Any, rows: Rows) -> Mapping[str, Any]:
    return {
        "id": n,
        "site_id": skewed(n, 1, rows["sites"]),
        "serial": "SN-" + written(n, 8),
        "model": one_of(mixed(n, 2, 4), "M1", "M2", "M3", "M3 pro"),
        "firmware": "1." + written(skewed(n, 3, 12)),
        "retired_at": chosen(mixed(n, 4, 20), {Moment(mixed(n, 5, SPAN)): 1}, null()),
    }


def _sensors(n: Any, rows: Rows) -> Mapping[str, Any]:
    quantity = mixed(n, 1, 4)
    return {
        "id": n,
        "device_id": n % rows["devices"] + 1,
        "quantity": one_of(quantity, "temperature", "humidity", "power", "vibration"),
        "unit": one_of(quantity, "C", "%", "W", "mm/s"),
    }


def _readings(n: Any, rows: Rows) -> Mapping[str, Any]:
    usual = mixed(n, 2, 90_000)
    peak = mixed(n, 3, 5_000)
    return {
        "id": n,
        "sensor_id": skewed(n, 1, rows["sensors"]),
        "recorded_at": Moment(_in_order(n, rows["readings"]) + mixed(n, 4, 60)),
        "value": cast(chosen(peak, {usual + 90_000: 1}, usual), Double) / 1_000.0,
        "quality": chosen(mixed(n, 5, 2_000), {"bad": 4, "suspect": 40}, "good"),
        "batch_id": n // 500 + 1,
    }


def _alerts(n: Any, rows: Rows) -> Mapping[str, Any]:
    raised = _in_order(n, rows["alerts"])
    age = mixed(n, 3, 1_000)
    return {
        "id": n,
        "sensor_id": skewed(n, 1, rows["sensors"]),
        "severity": chosen(mixed(n, 2, 100), {"critical": 2, "warning": 28}, "notice"),
        "message": literal("The value is out of the bounds that were set, by ") + written(n),
        "raised_at": Moment(raised),
        "acknowledged_by": chosen(age, {null(): 15}, "operator-" + written(mixed(n, 4, 30))),
        "resolved_at": chosen(age, {null(): 8}, Moment(raised + 4_000 + mixed(n, 5, 50_000))),
    }


def _hourly(n: Any, rows: Rows) -> Mapping[str, Any]:
    sensors = max(1, rows["hourly"] // HOURS)
    mean = cast(mixed(n, 1, 90_000), Double) / 1_000.0
    return {
        "sensor_id": n % sensors + 1,
        "hour": Moment(SPAN - 3_600 * HOURS + n // sensors * 3_600),
        "mean": mean,
        "lowest": mean - 5.0,
        "highest": mean + 5.0,
        "readings": mixed(n, 2, 50) + 10,
    }


def _maintenance(n: Any, rows: Rows) -> Mapping[str, Any]:
    begins = _in_order(n, rows["maintenance_windows"])
    return {
        "id": n,
        "device_id": skewed(n, 1, rows["devices"]),
        "starts_at": Moment(begins),
        "ends_at": Moment(begins + 3_600 + mixed(n, 2, 20_000)),
        "technician": "operator-" + written(mixed(n, 3, 30)),
    }


_CONTENTS = {
    "sites": _sites,
    "devices": _devices,
    "sensors": _sensors,
    "readings": _readings,
    "alerts": _alerts,
    "hourly": _hourly,
    "maintenance_windows": _maintenance,
}
