"""What the daemons of a database say together: which lag, and whether inactivity is the devices' own."""

import datetime as dt
from typing import Any

import pytest

from voltd.rules import rule_state
from voltd.rules.cycle import daemon_health

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WELL = ("a", 0.0, 0.0, False, True, None)


def _lags(found):
    return {row.device_id: row.ingest_lag_s for row in found.rows}


def test_all_are_well():
    found = daemon_health.assess([WELL, ("b", 2.0, 0.4, False, True, None)], (), NOW)
    assert (_lags(found), found.healthy, found.unwell_s) == ({"a": 0.0, "b": 0.4}, True, None)


def test_one_is_not_well():
    """No device counts as inactive while a daemon does not hear its devices."""
    found = daemon_health.assess([WELL, ("b", 2.0, 40.0, True, False, 2.0)], (), NOW)
    assert (_lags(found), found.healthy) == ({"a": 0.0, "b": 40.0}, False)
    assert [row.spooling for row in found.rows] == [False, True]


def test_one_was_not_well_between_two_checks():
    """The latest trouble of any of them counts."""
    found = daemon_health.assess(
        [WELL, ("b", 1.0, 0.0, False, True, 600.0), ("c", 1.0, 0.0, False, True, 20.0)], (), NOW
    )
    assert (found.healthy, found.unwell_s) == (True, 20.0)


@pytest.mark.parametrize(
    ("dead_s", "lag_s", "healthy"),
    [(30.0, 0.0, True), (31.0, 31.0, False), (3600.0, 3600.0, False), (3601.0, 3601.0, True), (80000.0, 80000.0, True)],
)
def test_one_died(dead_s, lag_s, healthy):
    """It lags from then on; for an hour it is waited for, then it hides nobody any more, whatever it said at last."""
    for last in ((True, None), (False, dead_s)):
        found = daemon_health.assess([WELL, ("b", dead_s, 0.0, False, *last)], (), NOW)
        assert _lags(found) == {"a": 0.0, "b": lag_s}
        assert found.healthy is (healthy and (last[0] or dead_s > 30))


def test_one_was_taken_out_of_service():
    """Its state ends."""
    keys: Any = [("ingest_lag", "system", "gone"), ("ingest_lag", "system", "a"), ("soc_low", "vehicle", "V1")]
    found = daemon_health.assess([WELL], keys, NOW)
    assert (_lags(found), found.healthy) == ({"a": 0.0, "gone": 0.0}, True)


@pytest.mark.parametrize(("evaluated_s", "dated_s"), [(-5.0, 0.0), (0.0, 0.0), (3600.0, 3600.001)])
def test_the_clock_stepped_back(evaluated_s, dated_s):
    """A report is dated after what was evaluated of the daemon before, or an outage would not end for as long."""
    (row,) = daemon_health.assess([WELL], (), NOW).rows
    newest = rule_state.State(evaluated_at=NOW + dt.timedelta(seconds=evaluated_s))
    known: Any = {("ingest_lag", "system", "a"): newest, ("ingest_lag", "system", "b"): rule_state.State()}
    assert daemon_health.after_evaluated(row, known).recorded_at == NOW + dt.timedelta(seconds=dated_s)
