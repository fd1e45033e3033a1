"""What the leader says of TimescaleDB's own jobs, without a database."""

import dataclasses
import datetime as dt
from typing import Any, cast

import pytest
import structlog

from voltd import config, errors, metrics
from voltd.daemon import policy_watch, status
from voltd.database import policies

FINE = policies.PolicyJob(
    job_id=1000, kind="refresh", relation="volt.vehicle_hourly", owner="volt_owner", every=dt.timedelta(minutes=10),
    paused=False, running=False, succeeded=True, waiting=dt.timedelta(minutes=5), failed=False, failures=0, error="",
    sqlstate="", refresh_from=dt.datetime(2026, 5, 1, tzinfo=dt.UTC),
    refresh_to=dt.datetime(2026, 5, 2, tzinfo=dt.UTC), bucket=dt.timedelta(hours=1),
)  # fmt: skip
FAILED = dataclasses.replace(FINE, failed=True, failures=3, error="no room", sqlstate="53100")
RETENTION = dataclasses.replace(
    FAILED,
    job_id=1003,
    kind="retention",
    relation="volt.meter_reading",
    refresh_from=None,
    refresh_to=None,
    bucket=None,
)


class Stage:
    """A watch, the jobs that it finds, and what becomes of a refresh."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.counters = metrics.Metrics()
        self.jobs: list[policies.PolicyJob] | None = []
        self.allowed, self.error = True, ""
        self.refreshed: list[int] = []
        self.watch = policy_watch.PolicyWatch(config.Settings(), self.counters)
        patched.setattr(policies, "look", lambda _connection: self.jobs)
        patched.setattr(policies, "may_refresh", lambda _connection, _job: self.allowed)
        patched.setattr(policies, "refresh", self._refresh)

    def look(self, *jobs: policies.PolicyJob) -> tuple[list[policies.PolicyJob], list[Any]]:
        """What is due, and (level, event) of what is logged."""
        self.jobs = list(jobs)
        with structlog.testing.capture_logs() as logs:
            due = self.watch.look(cast("Any", None))
        return due, [(one["log_level"], one["event"]) for one in logs]

    def refresh(self, *jobs: policies.PolicyJob) -> list[Any]:
        with structlog.testing.capture_logs() as logs:
            for job in jobs:
                self.watch.refresh(cast("Any", None), job, lambda: True)
        return logs

    def _refresh(self, _connection: Any, job: policies.PolicyJob, _go_on: Any) -> bool:
        if self.error:
            raise errors.StoreUnavailable(self.error)
        self.refreshed.append(job.job_id)
        return True


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_all_is_well(stage):
    """One line, for who debugs."""
    assert stage.look(FINE) == ([], [("debug", "timescaledb_jobs.ok")])
    assert stage.counters.timescaledb_jobs_failing == []


def test_each_change_is_logged_once(stage):
    """Failing, failing otherwise, recovered; a count that grows is no change, and a run under way decides nothing."""
    failing, recovered = ("warning", "timescaledb_job.failing"), ("info", "timescaledb_job.recovered")
    assert stage.look(FAILED)[1] == [failing]
    assert stage.look(dataclasses.replace(FAILED, failures=4))[1] == []
    assert stage.look(dataclasses.replace(FINE, running=True))[1] == []
    assert stage.counters.timescaledb_jobs_failing == ["refresh of volt.vehicle_hourly"]
    assert stage.look(dataclasses.replace(FAILED, error="no memory"))[1] == [failing]
    assert stage.look(FINE)[1][0] == recovered
    assert stage.counters.timescaledb_jobs_failing == []


def test_only_a_refresh_is_done_in_its_place(stage):
    """And only as often as TimescaleDB would; never while it is at work itself."""
    assert stage.look(FAILED, RETENTION)[0] == [FAILED]
    assert stage.look(dataclasses.replace(FAILED, running=True))[0] == []
    assert [one["event"] for one in stage.refresh(FAILED)] == ["aggregate.refresh_done"]
    assert stage.refreshed == [1000]
    assert stage.look(FAILED, RETENTION)[0] == []
    assert stage.counters.timescaledb_jobs_failing == [
        "refresh of volt.vehicle_hourly",
        "retention of volt.meter_reading",
    ]


def test_the_same_refresh_again_is_not_news(stage):
    levels = [one["log_level"] for _ in range(3) for one in stage.refresh(FAILED)]
    assert levels == ["info", "debug", "debug"]


def test_who_may_not_refresh_says_what_an_admin_types(stage):
    """Unless TimescaleDB does the work and only counts it as failed."""
    stage.allowed = False
    (line,) = stage.refresh(FAILED)
    assert (line["log_level"], line["event"]) == ("warning", "aggregate.refresh_not_allowed")
    assert "CALL run_job(1000)" in line["do"]
    works = dataclasses.replace(FAILED, job_id=1001, sqlstate="24000", error='cannot drop portal "" while it is')
    assert stage.refresh(works) == []
    assert stage.refreshed == []


def test_a_refresh_that_fails_does_not_stop_the_next(stage):
    stage.error = "no room"
    logs = stage.refresh(FAILED, dataclasses.replace(FAILED, job_id=1001))
    assert [(one["event"], one["error"]) for one in logs] == [("aggregate.refresh_failed", "no room")] * 2


def test_an_edition_without_jobs(stage):
    """Nothing is logged, counted or shown."""
    stage.look(FAILED)
    stage.jobs = None
    with structlog.testing.capture_logs() as logs:
        assert stage.watch.look(cast("Any", None)) == []
    assert logs == []
    assert stage.counters.timescaledb_jobs_failing is None


def test_a_daemon_that_leads_no_more_forgets(stage):
    """What it knew is not shown any more, and is news when it leads again."""
    stage.look(FAILED)
    stage.watch.forget()
    assert stage.counters.timescaledb_jobs_failing is None
    assert stage.look(FAILED)[1] == [("warning", "timescaledb_job.failing")]


@pytest.mark.parametrize(
    ("failing", "row"),
    [
        (None, ""),
        ([], "timescaledb   jobs ok"),
        (["retention of volt.meter_reading"], 'jobs failing: retention of volt.meter_reading; see "voltd check"'),
    ],
)
def test_status_says_it_where_it_was_looked_at(failing, row):
    counters = metrics.Metrics(timescaledb_jobs_failing=failing)
    shown = status.show(status.Reporter(config.Settings(), counters).build())
    assert row in shown
    assert ("timescaledb" in shown) == bool(row)
