"""TimescaleDB's own jobs: what counts as trouble, and the steps of a refresh."""

import datetime as dt
import itertools
from typing import Any, cast

import psycopg
import pytest

from voltd import errors
from voltd.database import policies

HOUR = dt.timedelta(hours=1)
START = dt.datetime(2026, 5, 1, 6, tzinfo=dt.UTC)
PORTAL = 'cannot drop portal "" while it is being set up'


def job(**values: Any) -> policies.PolicyJob:
    """A refresh every 10 minutes that does well."""
    well: dict[str, Any] = {
        "job_id": 1000, "kind": "refresh", "relation": "volt.vehicle_hourly", "owner": "volt_owner",
        "every": dt.timedelta(minutes=10), "paused": False, "running": False, "succeeded": True,
        "waiting": dt.timedelta(minutes=9), "failed": False, "failures": 0, "error": "", "sqlstate": "",
        "refresh_from": START, "refresh_to": START + 60 * HOUR, "bucket": HOUR,
    }  # fmt: skip
    return policies.PolicyJob(**(well | values))


class Server:
    """Notes which times it is to refresh; a bucket takes it ``bucket_s`` on the clock."""

    def __init__(self, patched: pytest.MonkeyPatch, bucket_s: float = 0.0) -> None:
        self._now, self._bucket_s = 0.0, bucket_s
        self.refreshed: list[tuple[dt.datetime, dt.datetime]] = []
        self.error: psycopg.Error | None = None
        patched.setattr("time.monotonic", lambda: self._now)

    def execute(self, _query: str, values: list[Any], *, prepare: bool) -> None:
        assert not prepare
        if self.error is not None:
            raise self.error
        _, begin, end = values
        self._now += self._bucket_s * ((end - begin) / HOUR)
        self.refreshed.append((begin, end))

    def lengths(self) -> list[float]:
        """In hours."""
        return [(end - begin) / HOUR for begin, end in self.refreshed]

    def refresh(self, one: policies.PolicyJob, steps: int = 1000) -> bool:
        left = iter(range(steps))
        return policies.refresh(cast("Any", self), one, lambda: next(left, None) is not None)


@pytest.mark.parametrize(
    ("values", "trouble"),
    [
        ({}, ""),
        ({"waiting": dt.timedelta(minutes=30)}, ""),
        ({"waiting": dt.timedelta(minutes=31)}, "has not succeeded for three intervals"),
        ({"waiting": dt.timedelta(hours=1), "succeeded": False}, "has never succeeded and is overdue"),
        ({"waiting": dt.timedelta(hours=-1), "succeeded": False}, ""),
        ({"waiting": None, "succeeded": False}, ""),
        ({"paused": True}, ""),
        ({"paused": True, "waiting": HOUR}, "is paused and has not succeeded for three intervals"),
        ({"failed": True, "error": "no room"}, "failed: no room"),
        ({"failed": True}, "failed: TimescaleDB does not say why"),
    ],
)
def test_trouble(values, trouble):
    """A failed last run, or three intervals without a success; not a pause that is short, or a first run that waits."""
    one = job(**values)
    assert (one.trouble, one.in_trouble) == (trouble, bool(trouble))


def test_advice_says_what_to_type():
    assert "SELECT alter_job(1000, scheduled => true)" in job(paused=True).advice
    assert "as volt_owner: CALL run_job(1000)" in job(failed=True, error="no room", sqlstate="53100").advice
    harmless = job(failed=True, error=PORTAL, sqlstate="24000")
    assert harmless.works
    assert "update TimescaleDB" in harmless.advice
    assert not job(failed=True, error="another cursor", sqlstate="24000").works


def test_names_say_what_is_done():
    assert job().name == "refresh of volt.vehicle_hourly"
    assert job(kind="policy_reorder", relation="volt.meter_reading").name == "policy_reorder of volt.meter_reading"


def test_a_refresh_goes_by_days_the_oldest_first(monkeypatch):
    """A bucket first, then as many as are quick, at most a day; no gap, no overlap, to the end of the job's window."""
    server = Server(monkeypatch)
    assert server.refresh(job())
    assert server.lengths() == [1, 2, 4, 8, 16, 24, 5]
    edges = [START, *(end for _, end in server.refreshed)]
    assert server.refreshed == list(itertools.pairwise(edges))
    assert edges[-1] == START + 60 * HOUR


def test_no_statement_takes_long(monkeypatch):
    """One that takes seconds is not followed by a longer one; one bucket is the least, however long it takes."""
    server = Server(monkeypatch, bucket_s=1.5)
    assert server.refresh(job())
    assert set(server.lengths()) == {1, 2}
    slow = Server(monkeypatch, bucket_s=40)
    assert slow.refresh(job())
    assert set(slow.lengths()) == {1}


def test_a_refresh_stops_when_asked(monkeypatch):
    server = Server(monkeypatch)
    assert not server.refresh(job(), steps=2)
    assert server.lengths() == [1, 2]


def test_an_error_of_the_server_is_one_of_ours(monkeypatch):
    server = Server(monkeypatch)
    server.error = psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    with pytest.raises(errors.StoreUnavailable, match="statement timeout"):
        server.refresh(job())


def test_buckets_wider_than_a_day_are_not_cut(monkeypatch):
    server = Server(monkeypatch)
    week = dt.timedelta(days=7)
    assert server.refresh(job(bucket=week, refresh_to=START + 2 * week))
    assert server.lengths() == [168, 168]
