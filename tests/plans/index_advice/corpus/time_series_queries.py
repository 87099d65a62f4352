"""Queries of the time series: those for which an index pays, then those for which none does."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import (
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    union_all,
    update,
)

from corpus.queries import (
    CorpusQuery,
    Outcome,
    Sets,
    Values,
    ago,
    always,
    at,
    by_skew,
    may,
    on,
    spread,
)
from corpus.rows import BEGIN, END, Rows, drawn
from corpus.time_series import HOURS, Alert, Device, Hourly, Maintenance, Reading, Sensor, Site

__all__ = ["ADVISED", "UNADVISED"]

SENSOR = bindparam("sensor")
DEVICE = bindparam("device")

OF_SENSOR = on("readings", "sensor_id, recorded_at", "sensor_id")
BY_SENSOR = Outcome(indexes=(OF_SENSOR,))
ALERTS = on("alerts", "sensor_id, raised_at", "sensor_id")
#: Of 4,000 rows: where readings are found at once, looking through all sensors takes the longest.
OF_DEVICE = on("sensors", "device_id")
BY_SENSOR_OF_DEVICE = Outcome(indexes=(OF_SENSOR,), besides=(OF_DEVICE,))
ALERTS_BY_SENSOR = Outcome(indexes=(ALERTS,))
IN_BATCH = Outcome(indexes=(on("readings", "batch_id"),))
WINDOWS = on("maintenance_windows", "device_id, starts_at", "device_id", "device_id, ends_at")


def _sensors(rows: Rows) -> Sets:
    return [
        {"sensors": [drawn(rows["sensors"], (n * 5 + k) / 21) for k in range(5)], "since": since}
        for n, since in enumerate((ago(days=1), ago(days=7), ago(days=30)))
    ]


def _pages(rows: Rows) -> Sets:
    return [
        {"sensor": drawn(rows["sensors"], draw), "moment": ago(days=200), "last": 10**8}
        for draw in (0.1, 0.4, 0.8)
    ]


def _batches(rows: Rows) -> Sets:
    return [{"batch": rows["readings"] // 500 // part} for part in (1, 2, 7)]


def _hours(rows: Rows) -> Sets:
    first = END - dt.timedelta(hours=HOURS)
    return [{"hour": first + dt.timedelta(hours=hour)} for hour in (2, 5, 9)]


def _week(sensor: str = "sensors") -> Values:
    return by_skew(sensor, "sensor", since=ago(days=107), until=ago(days=100))


_gap = (
    select(
        Reading.recorded_at,
        func.lag(Reading.recorded_at).over(order_by=Reading.recorded_at).label("before"),
    )
    .where(Reading.sensor_id == SENSOR, Reading.recorded_at.between(at("since"), at("until")))
    .subquery("gaps")
)
_newest = (
    select(Reading.value)
    .where(Reading.sensor_id == Sensor.id)
    .order_by(Reading.recorded_at.desc())
    .limit(1)
    .correlate(Sensor)
    .scalar_subquery()
)
_lasts = (
    select(Reading.sensor_id, func.max(Reading.recorded_at).label("last"))
    .where(Reading.sensor_id.in_(bindparam("sensors", expanding=True)))
    .group_by(Reading.sensor_id)
    .subquery("lasts")
)
_daily = (
    select(func.date(Reading.recorded_at).label("day"), func.avg(Reading.value).label("mean"))
    .where(Reading.sensor_id == SENSOR, Reading.recorded_at >= at("since"))
    .group_by(func.date(Reading.recorded_at))
    .cte("daily")
)

ADVISED: tuple[CorpusQuery, ...] = (
    CorpusQuery(
        name="newest_readings_of_sensor",
        statement=select(Reading)
        .where(Reading.sensor_id == SENSOR)
        .order_by(Reading.recorded_at.desc())
        .limit(100),
        values=by_skew("sensors", "sensor"),
        expected=BY_SENSOR,
        because="one sensor of 4,000, newest first",
        calls=8_000,
    ),
    CorpusQuery(
        name="readings_of_sensor_in_week",
        statement=select(Reading.recorded_at, Reading.value).where(
            Reading.sensor_id == SENSOR, Reading.recorded_at.between(at("since"), at("until"))
        ),
        values=_week(),
        expected=BY_SENSOR,
        because="equality, then a range; by the range alone a week of all sensors is read",
        calls=3_000,
    ),
    CorpusQuery(
        name="mean_of_sensor_since",
        statement=select(func.avg(Reading.value), func.count()).where(
            Reading.sensor_id == SENSOR, Reading.recorded_at >= at("since")
        ),
        values=by_skew("sensors", "sensor", since=ago(days=200)),
        expected=BY_SENSOR,
        because="the same with an aggregate",
        calls=900,
    ),
    CorpusQuery(
        name="daily_means_of_sensor",
        statement=select(_daily.c.day, _daily.c.mean).order_by(_daily.c.day),
        values=by_skew("sensors", "sensor", since=ago(days=200)),
        expected=BY_SENSOR,
        because="a CTE with groups by a function over the same filter",
        calls=300,
    ),
    CorpusQuery(
        name="bounds_of_sensor",
        statement=select(func.min(Reading.recorded_at)).where(Reading.sensor_id == SENSOR),
        values=by_skew("sensors", "sensor"),
        expected=BY_SENSOR,
        because="the first of a sensor is the first in the index",
        calls=300,
    ),
    CorpusQuery(
        name="gaps_of_sensor",
        statement=select(_gap.c.recorded_at, _gap.c.before).where(_gap.c.before.is_not(None)),
        values=_week(),
        expected=BY_SENSOR,
        because="a window over a filter in a subquery",
        calls=100,
    ),
    CorpusQuery(
        name="readings_page_of_sensor",
        statement=select(Reading)
        .where(
            Reading.sensor_id == SENSOR,
            or_(
                Reading.recorded_at < at("moment"),
                and_(Reading.recorded_at == at("moment"), Reading.id < bindparam("last")),
            ),
        )
        .order_by(Reading.recorded_at.desc(), Reading.id.desc())
        .limit(100),
        values=_pages,
        expected=BY_SENSOR,
        because="a keyset page in the order of time",
        calls=500,
    ),
    CorpusQuery(
        name="readings_of_sensors_since",
        statement=select(Reading.sensor_id, Reading.recorded_at, Reading.value).where(
            Reading.sensor_id.in_(bindparam("sensors", expanding=True)),
            Reading.recorded_at >= at("since"),
        ),
        values=_sensors,
        expected=BY_SENSOR,
        because="a list of keys and a range",
        calls=700,
    ),
    CorpusQuery(
        name="newest_values_of_device",
        statement=select(Sensor.id, Sensor.quantity, _newest.label("value")).where(
            Sensor.device_id == DEVICE
        ),
        values=spread("devices", "device"),
        expected=BY_SENSOR_OF_DEVICE,
        because="the newest row for each of four sensors, by a subquery",
        calls=2_000,
    ),
    CorpusQuery(
        name="newest_readings_of_sensors",
        statement=select(Reading.sensor_id, Reading.recorded_at, Reading.value).join(
            _lasts,
            and_(Reading.sensor_id == _lasts.c.sensor_id, Reading.recorded_at == _lasts.c.last),
        ),
        values=lambda rows: [{"sensors": one["sensors"]} for one in _sensors(rows)],
        expected=BY_SENSOR,
        because="the newest of a group, by a join with the maxima",
        calls=400,
    ),
    CorpusQuery(
        name="silent_sensors_of_device",
        statement=select(Sensor.id).where(
            Sensor.device_id == DEVICE,
            ~exists().where(Reading.sensor_id == Sensor.id, Reading.recorded_at >= at("since")),
        ),
        values=spread("devices", "device", since=ago(days=30)),
        expected=BY_SENSOR_OF_DEVICE,
        because="NOT EXISTS for each of four sensors",
        calls=200,
    ),
    CorpusQuery(
        name="readings_of_device_by_serial",
        statement=select(Sensor.quantity, func.max(Reading.value))
        .select_from(Device)
        .join(Sensor, Sensor.device_id == Device.id)
        .join(Reading, Reading.sensor_id == Sensor.id)
        .where(
            Device.serial == bindparam("serial"),
            Reading.recorded_at.between(at("since"), at("until")),
        )
        .group_by(Sensor.quantity),
        values=always(
            *(
                {"serial": f"SN-{number:08}", "since": ago(days=130), "until": ago(days=100)}
                for number in (3, 400, 900)
            )
        ),
        expected=Outcome(indexes=(OF_SENSOR, OF_DEVICE)),
        because="three tables from a unique serial number to a month of four sensors: both joins",
        calls=200,
    ),
    CorpusQuery(
        name="bad_readings",
        statement=text(
            "SELECT id, sensor_id, recorded_at FROM readings WHERE quality = 'bad' "
            "ORDER BY recorded_at DESC LIMIT 50"
        ),
        values=always(),
        expected=Outcome(
            indexes=(
                on(
                    "readings", "recorded_at WHERE quality = 'bad'", "quality, recorded_at",
                    "quality",
                ),
            )
        ),
        because="1 row of 500 by a constant; the index of the order skips the others one by one",
        calls=600,
    ),
    CorpusQuery(
        name="readings_in_quality",
        statement=select(func.count()).where(Reading.quality == bindparam("quality")),
        values=always({"quality": "bad"}, {"quality": "bad"}),
        expected=Outcome(indexes=(on("readings", "quality"),)),
        because="a parameter that is always a rare one",
        calls=40,
    ),
    CorpusQuery(
        name="peaks",
        statement=select(Reading.id, Reading.sensor_id, Reading.value).where(
            Reading.value > bindparam("value")
        ),
        values=always({"value": 120.0}, {"value": 170.0}),
        expected=Outcome(indexes=(on("readings", "value"),)),
        because="a range at the end of what values there are: 1 row of 5,000",
        calls=100,
    ),
    CorpusQuery(
        name="readings_of_batch",
        statement=select(Reading).where(Reading.batch_id == bindparam("batch")),
        values=_batches,
        expected=IN_BATCH,
        because="500 rows of 2,200,000",
        calls=200,
    ),
    CorpusQuery(
        name="delete_batch",
        statement=delete(Reading).where(Reading.batch_id == bindparam("batch")),
        values=_batches,
        expected=IN_BATCH,
        because="a DELETE finds its rows as a SELECT does",
        calls=20,
    ),
    CorpusQuery(
        name="distinct_sensors_of_batch",
        statement=select(Reading.sensor_id)
        .where(Reading.batch_id == bindparam("batch"))
        .distinct(),
        values=_batches,
        expected=IN_BATCH,
        because="DISTINCT over a selective equality",
        calls=60,
    ),
    CorpusQuery(
        name="aggregate_sensor_again",
        statement=insert(Maintenance).from_select(
            ["id", "device_id", "starts_at", "ends_at", "technician"],
            select(
                Reading.id + 100_000_000,
                Sensor.device_id,
                Reading.recorded_at,
                Reading.recorded_at,
                Reading.quality,
            )
            .join(Sensor, Sensor.id == Reading.sensor_id)
            .where(Reading.sensor_id == SENSOR, Reading.recorded_at >= at("since")),
        ),
        values=by_skew("sensors", "sensor", since=ago(days=60)),
        expected=BY_SENSOR,
        because="INSERT ... SELECT reads as a SELECT does",
        calls=60,
    ),
    CorpusQuery(
        name="open_alerts",
        statement=select(Alert)
        .where(Alert.resolved_at.is_(None))
        .order_by(Alert.raised_at.desc())
        .limit(50),
        values=always(),
        expected=Outcome(
            indexes=(
                on(
                    "alerts", "raised_at WHERE resolved_at IS NULL", "resolved_at, raised_at",
                    "resolved_at", "raised_at",
                ),
            )
        ),
        because="8 rows of 1,000 are open: NULL is a constant",
        calls=5_000,
    ),
    CorpusQuery(
        name="critical_alerts_that_nobody_saw",
        statement=text(
            "SELECT id, sensor_id, message FROM alerts "
            "WHERE severity = 'critical' AND acknowledged_by IS NULL ORDER BY raised_at"
        ),
        values=always(),
        expected=Outcome(
            indexes=(
                on(
                    "alerts", "raised_at WHERE severity = 'critical' AND acknowledged_by IS NULL",
                    "severity, acknowledged_by", "acknowledged_by, severity", "acknowledged_by",
                    "severity", "acknowledged_by WHERE severity = 'critical'",
                ),
            )
        ),
        because="two constants that together few rows fulfil",
        calls=2_000,
    ),
    CorpusQuery(
        name="alerts_of_sensor",
        statement=select(Alert)
        .where(Alert.sensor_id == SENSOR)
        .order_by(Alert.raised_at.desc())
        .limit(20),
        values=by_skew("sensors", "sensor"),
        expected=ALERTS_BY_SENSOR,
        because="a foreign key without an index, newest first",
        calls=1_500,
    ),
    CorpusQuery(
        name="alerts_of_device",
        statement=select(Alert.id, Alert.message, Sensor.quantity)
        .join(Sensor, Sensor.id == Alert.sensor_id)
        .where(Sensor.device_id == DEVICE)
        .order_by(Alert.raised_at.desc())
        .limit(20),
        values=spread("devices", "device"),
        expected=Outcome(indexes=(ALERTS,), besides=(OF_DEVICE,)),
        because="a join from few sensors to their alerts",
        calls=900,
    ),
    CorpusQuery(
        name="acknowledge_alerts_of_sensor",
        statement=update(Alert)
        .where(Alert.sensor_id == SENSOR, Alert.acknowledged_by.is_(None))
        .values(acknowledged_by="operator-1"),
        values=by_skew("sensors", "sensor"),
        expected=Outcome(
            indexes=(ALERTS,),
            instead=(on("alerts", "sensor_id, acknowledged_by", "acknowledged_by"),),
        ),
        because="an UPDATE by a foreign key and NULL",
        calls=300,
    ),
    CorpusQuery(
        name="alerts_of_a_day_by_severity",
        statement=select(Alert.severity, func.count())
        .where(Alert.raised_at.between(at("since"), at("until")))
        .group_by(Alert.severity),
        values=always(
            {"since": ago(days=1), "until": END}, {"since": ago(days=91), "until": ago(days=90)}
        ),
        expected=Outcome(indexes=(on("alerts", "raised_at"),)),
        because="a narrow window of time, in groups",
        calls=200,
    ),
    CorpusQuery(
        name="history_of_sensor",
        statement=union_all(
            select(Alert.raised_at.label("moment"), Alert.message).where(Alert.sensor_id == SENSOR),
            select(Maintenance.starts_at, Maintenance.technician)
            .join(Sensor, Sensor.device_id == Maintenance.device_id)
            .where(Sensor.id == SENSOR),
        ).order_by("moment"),
        values=by_skew("sensors", "sensor"),
        expected=Outcome(indexes=(ALERTS, WINDOWS)),
        because="each side of a UNION has its filter",
        calls=80,
    ),
    CorpusQuery(
        name="maintenance_of_device_now",
        statement=select(Maintenance).where(
            Maintenance.device_id == DEVICE,
            Maintenance.starts_at <= at("moment"),
            Maintenance.ends_at >= at("moment"),
        ),
        values=by_skew("devices", "device", moment=ago(days=300)),
        expected=Outcome(indexes=(WINDOWS,)),
        because="an equality and two ranges, of which an index takes one",
        calls=3_000,
    ),
    CorpusQuery(
        name="alerts_during_maintenance",
        statement=select(Alert.id, Maintenance.id)
        .join(Sensor, Sensor.id == Alert.sensor_id)
        .join(
            Maintenance,
            and_(
                Maintenance.device_id == Sensor.device_id,
                Alert.raised_at.between(Maintenance.starts_at, Maintenance.ends_at),
            ),
        )
        .where(Alert.sensor_id == SENSOR),
        values=by_skew("sensors", "sensor"),
        expected=Outcome(indexes=(ALERTS, WINDOWS)),
        because="three tables; two foreign keys without an index",
        calls=50,
    ),
    CorpusQuery(
        name="hour_of_all_sensors",
        statement=select(Hourly.sensor_id, Hourly.mean).where(Hourly.hour == at("hour")),
        values=_hours,
        expected=Outcome(indexes=(on("hourly", "hour"),)),
        because="the primary key begins with the sensor, so it does not help with the hour",
        calls=300,
    ),
)  # fmt: skip

UNADVISED: tuple[CorpusQuery, ...] = (
    CorpusQuery(
        name="newest_readings",
        statement=select(Reading).order_by(Reading.recorded_at.desc()).limit(100),
        values=always(),
        because="the order has its index",
        calls=500,
    ),
    CorpusQuery(
        name="sensors_of_last_minutes",
        statement=select(func.count(Reading.sensor_id.distinct())).where(
            Reading.recorded_at >= at("since")
        ),
        values=always({"since": ago(minutes=30)}, {"since": ago(hours=3)}),
        because="the range has its index, and is narrow",
        calls=300,
    ),
    CorpusQuery(
        name="delete_oldest_readings",
        statement=delete(Reading).where(Reading.recorded_at < at("until")),
        values=always({"until": BEGIN + dt.timedelta(hours=5)}),
        because="the range has its index",
        calls=24,
    ),
    CorpusQuery(
        name="hours_of_sensor",
        statement=select(Hourly.hour, Hourly.mean)
        .where(Hourly.sensor_id == SENSOR, Hourly.hour >= at("since"))
        .order_by(Hourly.hour),
        values=by_skew("sensors", "sensor", since=ago(days=2)),
        because="the primary key serves",
        calls=4_000,
    ),
    CorpusQuery(
        name="means_by_sensor",
        statement=select(Hourly.sensor_id, func.avg(Hourly.mean)).group_by(Hourly.sensor_id),
        values=always(),
        expected_on={"sqlite": may(on("hourly", "sensor_id, mean"))},
        because="an aggregate of the whole table; SQLite groups by a covering index (5.2x)",
        calls=5,
    ),
    CorpusQuery(
        name="readings_by_quality",
        statement=select(Reading.quality, func.avg(Reading.value)).group_by(Reading.quality),
        values=always(),
        expected_on={"sqlite": may(on("readings", "quality"))},
        because="an aggregate of the whole table; SQLite groups by a covering index (4.7x)",
        calls=2,
    ),
    CorpusQuery(
        name="usual_readings",
        statement=select(func.count()).where(
            Reading.value.between(bindparam("low"), bindparam("high"))
        ),
        values=always({"low": 5.0, "high": 85.0}),
        because="a range of nine rows in ten",
        calls=5,
    ),
    CorpusQuery(
        name="readings_far_from_twenty",
        statement=select(func.count()).where(func.abs(Reading.value - 20) > bindparam("distance")),
        values=always({"distance": 30.0}),
        because="half of the table by an expression",
        calls=5,
    ),
    CorpusQuery(
        name="good_readings",
        statement=text("SELECT count(*) FROM readings WHERE quality = 'good'"),
        values=always(),
        because="98 rows of 100",
        calls=3,
    ),
    CorpusQuery(
        name="devices_of_site",
        statement=select(Device).where(Device.site_id == bindparam("site")),
        values=spread("sites", "site"),
        because="1,000 rows, a few pages",
        calls=900,
    ),
    CorpusQuery(
        name="sensors_of_region",
        statement=select(Sensor.id, Sensor.quantity)
        .join(Device, Device.id == Sensor.device_id)
        .join(Site, Site.id == Device.site_id)
        .where(Site.region == bindparam("region")),
        values=always({"region": "north"}, {"region": "south"}),
        because="small tables, of which a quarter is read",
        calls=100,
    ),
    CorpusQuery(
        name="device_by_serial",
        statement=select(Device).where(Device.serial == bindparam("serial")),
        values=always({"serial": "SN-00000300"}),
        because="the unique index serves",
        calls=2_000,
    ),
    CorpusQuery(
        name="alerts_like",
        statement=select(Alert.id).where(Alert.message.contains(bindparam("part"))),
        values=always({"part": "by 777"}),
        because="a leading wildcard",
        calls=20,
    ),
    CorpusQuery(
        name="resolved_alerts",
        statement=select(func.count()).where(Alert.resolved_at.is_not(None)),
        values=always(),
        expected_on={"sqlite": may(on("alerts", "resolved_at"))},
        because="99 rows of 100; SQLite counts them in an index alone (4.3x)",
        calls=20,
    ),
    CorpusQuery(
        name="write_reading",
        statement=insert(Reading),
        values=always(
            {
                "id": 100_000_001,
                "sensor_id": 1,
                "recorded_at": END,
                "value": 20.0,
                "quality": "good",
                "batch_id": 1,
            }
        ),
        because="an INSERT looks for nothing",
        calls=50_000,
    ),
    CorpusQuery(
        name="resolve_alert",
        statement=update(Alert).where(Alert.id == bindparam("alert")).values(resolved_at=at("now")),
        values=spread("alerts", "alert", now=END),
        because="an UPDATE by the primary key",
        calls=500,
    ),
)
