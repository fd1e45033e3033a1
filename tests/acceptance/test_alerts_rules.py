"""Alerts from end to end: readings published to a real broker, episodes in a real database."""

import datetime as dt
import json

import psycopg
from psycopg import rows

import harness


def _alerts(database, where="true"):
    with psycopg.connect(database, row_factory=rows.dict_row) as connection:
        return connection.execute(f"SELECT * FROM volt.alert WHERE {where} ORDER BY alert_id").fetchall()


def _publish(publisher, daemon, vehicle, seconds_ago=0.0, **values):
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
    payload = json.dumps({"timestamp": at.isoformat(), **values})
    publisher.flush([publisher.publish(f"{daemon.name}/vehicle/{vehicle}", payload)])


def test_one_reading_over_the_limit_is_an_episode(daemon, publisher, database):
    """It is over before anybody could have looked, and is told nevertheless; duplicates add nothing."""
    _publish(publisher, daemon, "V1", 2, speed=150)
    _publish(publisher, daemon, "V1", 1, speed=90)
    (found,) = harness.wait_for(lambda: _alerts(database, "resolved_at IS NOT NULL"), what="the episode")
    assert (found["rule"], found["severity"], found["device_id"], found["peak_value"]) == (
        "overspeed",
        "warning",
        "V1",
        150,
    )
    assert found["message"] == "vehicle V1: overspeed warning is over after 1 s, peak 150 km/h"
