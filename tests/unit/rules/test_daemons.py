"""What the daemons of a database say together: who lags, and whether a silent device is silent by itself."""

import datetime as dt
from typing import Any

import pytest

from voltd.rules import state
from voltd.rules.cycle import daemons

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WELL = ("a", 0.0, 0.0, False, True, None)


def _lags(found):
    return {row.device_id: row.ingest_lag_s for row in found.rows}


def test_all_are_well():
    found = daemons.judge([WELL, ("b", 2.0, 0.4, False, True, None)], (), NOW)
    assert (_lags(found), found.healthy, found.unwell_s) == ({"a": 0.0, "b": 0.4}, True, None)


def test_one_is_not_well():
    """Nobody is called silent while any daemon is deaf."""
    found = daemons.judge([WELL, ("b", 2.0, 40.0, True, False, 2.0)], (), NOW)
    assert (_lags(found), found.healthy) == ({"a": 0.0, "b": 40.0}, False)
    assert [row.spooling for row in found.rows] == [False, True]


def test_one_was_not_well_between_two_checks():
    """The latest trouble of any of them counts."""
    found = daemons.judge([WELL, ("b", 1.0, 0.0, False, True, 600.0), ("c", 1.0, 0.0, False, True, 20.0)], (), NOW)
    assert (found.healthy, found.unwell_s) == (True, 20.0)


@pytest.mark.parametrize(
    ("silent_s", "lag_s", "healthy"),
    [(30.0, 0.0, True), (31.0, 31.0, False), (3600.0, 3600.0, False), (3601.0, 3601.0, True), (80000.0, 80000.0, True)],
)
def test_one_died(silent_s, lag_s, healthy):
    """It lags from then on; for an hour it is waited for, then it hides nobody any more, whatever it said at last."""
    for last in ((True, None), (False, silent_s)):
        found = daemons.judge([WELL, ("b", silent_s, 0.0, False, *last)], (), NOW)
        assert _lags(found) == {"a": 0.0, "b": lag_s}
        assert found.healthy is (healthy and (last[0] or silent_s > 30))


def test_one_was_taken_out_of_service():
    """What is remembered of it ends."""
    keys: Any = [("ingest_lag", "system", "gone"), ("ingest_lag", "system", "a"), ("soc_low", "vehicle", "V1")]
    found = daemons.judge([WELL], keys, NOW)
    assert (_lags(found), found.healthy) == ({"a": 0.0, "gone": 0.0}, True)


@pytest.mark.parametrize(("judged_s", "dated_s"), [(-5.0, 0.0), (0.0, 0.0), (3600.0, 3600.001)])
def test_the_clock_stepped_back(judged_s, dated_s):
    """What a daemon says now comes after what was judged of it before, or an outage would not end for as long."""
    (row,) = daemons.judge([WELL], (), NOW).rows
    judged = state.State(judged_at=NOW + dt.timedelta(seconds=judged_s))
    known: Any = {("ingest_lag", "system", "a"): judged, ("ingest_lag", "system", "b"): state.State()}
    assert daemons.in_order(row, known).recorded_at == NOW + dt.timedelta(seconds=dated_s)
