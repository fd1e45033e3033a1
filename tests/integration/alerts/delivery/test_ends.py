"""A channel that was notified of an alert is notified of its end; how much is read for alerts that stay open."""

import datetime as dt
import json

import psycopg
import pytest

from support import alerts, harness
from support.rules import cycle_fakes
from voltd.alerts import outbox
from voltd.database import connections, queries
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load
from voltd.rules.cycle import cycle, interfaces


@pytest.fixture
def delivery(delivery):
    """With a vehicle that may change fleets."""
    delivery.execute("INSERT INTO volt.fleet (fleet_id, name) VALUES ('north', 'North'), ('south', 'South')")
    delivery.execute("INSERT INTO volt.vehicle (vehicle_id, fleet_id) VALUES ('V1', 'north')")
    return delivery


@pytest.fixture
def checks(delivery):
    """A function that makes a check for a deliverer."""
    made = []

    def make(delivered):
        one = cycle.EvaluationCycle(
            connections.connector(delivery.settings()),
            "t",
            cycle_fakes.ThisDaemon(lambda: interfaces.Report(0.0, spooling=False, healthy=True)),
            delivered,
            Excursions(),
        )
        one.use(load.load(), delivered.every_channel)
        made.append(one)
        return one

    yield make
    for one in made:
        one._close()


def _reads(delivery, soc_pct):
    """A reading of V1, as the writer stores it."""
    now = dt.datetime.now(dt.UTC)
    delivery.execute(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, received_at) VALUES ('V1', %s, %s, %s)",
        now, soc_pct, now,
    )  # fmt: skip
    delivery.execute(
        "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, soc_pct, last_seen_at) VALUES ('V1', %s, %s, %s)"
        " ON CONFLICT (vehicle_id) DO UPDATE SET recorded_at = excluded.recorded_at, soc_pct = excluded.soc_pct,"
        " last_seen_at = excluded.last_seen_at",
        now, soc_pct, now,
    )  # fmt: skip
    if soc_pct < 15:
        delivery.execute(
            "INSERT INTO volt_internal.excursion (vehicle_id, since, received_at, late)"
            " VALUES ('V1', %s, %s, false)", now, now,
        )  # fmt: skip


def _over(delivery, one):
    """Returns once the check has found the episode to be over, and nothing waits."""

    def found():
        one.run()
        return harness.count(delivery.dsn, "alert", "resolved_at IS NOT NULL")

    harness.wait_for(found, 45, "the end of the episode")
    delivery.settled()


def _fires(delivery, one):
    for _ in range(2):  # the second confirms the first
        _reads(delivery, 10.0)
    one.run()
    delivery.settled()


def test_a_vehicle_that_changes_fleet_meanwhile(delivery, hook, checks):
    """Its old fleet's people hear the end, the new one's hear nothing of it."""
    other = alerts.Webhook()
    delivered = delivery.deliverer(
        hook={"url": hook.url, "fleets": ["north"]}, other={"url": other.url, "fleets": ["south"]}
    )
    one = checks(delivered)
    _fires(delivery, one)
    delivery.execute("UPDATE volt.vehicle SET fleet_id = 'south'")
    _reads(delivery, 60.0)
    _over(delivery, one)
    other.down()
    assert delivery.rows("transition, status") == [("fired", "sent"), ("resolved", "sent")]
    assert len(hook.lines) == 2
    assert other.posts == []


@pytest.mark.parametrize("now", [{"min_severity": "critical"}, {"rules": ["stale"]}, {"resolved": False}])
def test_a_channel_that_wants_other_alerts_from_now_on(delivery, hook, checks, now):
    """It hears the end of those that it heard of, unless ends are none of its business; and nothing of others."""
    delivered = delivery.deliverer(hook={"url": hook.url})
    one = checks(delivered)
    _fires(delivery, one)
    delivered.reload(delivery.settings(hook={"url": hook.url, **now}))
    one.use(load.load(), delivered.every_channel)
    _reads(delivery, 60.0)
    _over(delivery, one)
    assert len(hook.lines) == (1 if "resolved" in now else 2)


def test_a_channel_for_something_else(delivery, hook, checks):
    """What it does not want leaves no row for it, neither when it begins nor when it ends."""
    one = checks(delivery.deliverer(hook={"url": hook.url, "min_severity": "critical"}))
    _fires(delivery, one)
    _reads(delivery, 60.0)
    _over(delivery, one)
    assert delivery.rows() == []


@pytest.mark.parametrize(
    ("now", "count"),
    [({}, 1), ({"fleets": ["north"], "rules": ["soc_low"]}, 1), ({"fleets": ["south"]}, 0), ({"rules": ["stale"]}, 0),
     ({"min_severity": "critical"}, 0)],
)  # fmt: skip
def test_what_a_channel_no_longer_wants(delivery, now, count):
    """It is not repeated."""
    channel = delivery.settings(hook={"url": "json://localhost", "repeat_s": 60, **now}).alerts.channels["hook"]
    delivery.deliverer(leads=False, hook={"url": "json://localhost"})
    delivery.fire("V1", "soc_low", fleet_id="north")
    delivery.execute("UPDATE volt.alert_delivery SET status = 'sent', sent_at = now() - INTERVAL '1 hour'")
    with psycopg.connect(delivery.dsn, autocommit=True) as connection:
        assert outbox.repeat(connection, "hook", channel) == count


def _read_of(plan):
    """How many rows of alert_delivery a plan has read."""
    below = sum(_read_of(one) for one in plan.get("Plans", ()))
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    mine = plan.get("Relation Name") == "alert_delivery" and plan["Node Type"] != "ModifyTable"
    return below + (read * plan["Actual Loops"] if mine else 0)


def test_alerts_that_are_open_for_weeks(delivery):
    """Whether to repeat them is seen from the last delivery of each, not from all that there were."""
    delivery.execute(
        "INSERT INTO volt.alert (rule, severity, device_type, device_id, opened_at, last_seen_at, message)"
        " SELECT 'stale', 'warning', 'vehicle', 'V' || g, now(), now(), 'm' FROM generate_series(1, 500) g"
    )
    delivery.execute(
        "INSERT INTO volt.alert_delivery (alert_id, channel, transition, severity, message, status, sent_at)"
        " SELECT alert_id, 'hook', 'repeated', 'warning', 'm', 'sent', now() - g * INTERVAL '4 hours'"
        " FROM generate_series(60, 0, -1) g, volt.alert"
    )
    delivery.execute("ANALYZE volt.alert, volt.alert_delivery")
    with psycopg.connect(delivery.dsn) as connection:
        ((plan,),) = connection.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) " + queries.text("repeat_deliveries"),
            {"channel": "hook", "repeat_s": 3600, "severities": ["warning"], "rules": [], "fleets": []},
        )
    assert _read_of((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]) <= 2 * 500
