"""Checks of the rules in a migrated database, at times that the test gives."""

import datetime as dt
import types
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support import schema
from support.rules import cycle_fakes
from voltd import config
from voltd.database import connections
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load
from voltd.rules.cycle import cycle, interfaces

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
T0 = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - 12 * HOUR


class Rig:
    """A migrated database, and checks of the rules at times that the test gives; all is well unless it says so."""

    def __init__(self, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dsn, self.now, self.report = dsn, T0, interfaces.Report(0.0, spooling=False, healthy=True)
        self._connection = psycopg.connect(dsn, autocommit=True)
        clock = types.SimpleNamespace(now=lambda _zone: self.now)
        monkeypatch.setattr(cycle, "dt", types.SimpleNamespace(datetime=clock, UTC=dt.UTC, timedelta=dt.timedelta))
        monkeypatch.setattr(cycle, "time", types.SimpleNamespace(monotonic=self._monotonic))
        self.well_since(T0 - 24 * HOUR)
        self._made: list[cycle.EvaluationCycle] = []
        self.restart()

    def _monotonic(self) -> float:
        return self.now.timestamp()

    def restart(self) -> None:
        settings = config.Settings(instance="t", database={"dsn": f"{self.dsn} options='-c role=volt_writer'"})
        self._cycle = cycle.EvaluationCycle(
            connections.connector(settings),
            "t",
            cycle_fakes.ThisDaemon(lambda: self.report),
            cycle_fakes.Notifier(),
            Excursions(),
        )
        self.reload()
        self._made.append(self._cycle)

    def reload(self, rules: str | None = None) -> None:
        """The shipped rules, or those of a text."""
        self._cycle.use(load.parse(rules, source="test") if rules else load.load(None), ())

    def well_since(self, at: dt.datetime) -> None:
        """As a daemon left it that ended a moment ago."""
        self.execute("UPDATE volt_internal.alert_progress SET healthy_since = %s, healthy_at = %s", at, self.now)

    def check(self, now: dt.datetime) -> None:
        self.now = now
        self._cycle.run()

    def keep(self) -> None:
        """What the leader does with readings that arrived late: all of them, as the test stores them all by hand."""
        for kind in ("vehicle", "meter"):
            self.execute(
                f"INSERT INTO volt_internal.{kind}_rollup_dirty"
                f" SELECT DISTINCT {kind}_id, date_trunc('hour', recorded_at, 'UTC') FROM volt.{kind}_reading"
            )
        schema.keep(self._connection)

    def execute(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        found = self._connection.execute(statement, values)
        return found.fetchall() if found.description else []

    def reading(
        self, device: str, recorded_at: dt.datetime, received_at: dt.datetime, *, kind: str = "vehicle"
    ) -> None:
        """Stored, and in the current state."""
        value = "soc_pct" if kind == "vehicle" else "power_kw"
        self.execute(
            f"INSERT INTO volt.{kind}_reading ({kind}_id, recorded_at, received_at, {value}) VALUES (%s, %s, %s, 50)",
            device, recorded_at, received_at,
        )  # fmt: skip
        self.execute(
            f"INSERT INTO volt.{kind}_current AS c ({kind}_id, recorded_at, last_seen_at) VALUES (%s, %s, %s)"
            f" ON CONFLICT ({kind}_id) DO UPDATE SET recorded_at = greatest(c.recorded_at, excluded.recorded_at),"
            " last_seen_at = greatest(c.last_seen_at, excluded.last_seen_at)",
            device, recorded_at, received_at,
        )  # fmt: skip

    def episodes(self, rule: str) -> list[tuple[Any, ...]]:
        """(device, past, over) of each."""
        return self.execute(
            "SELECT device_id, past, resolved_at IS NOT NULL FROM volt.alert WHERE rule = %s ORDER BY alert_id", rule
        )

    def close(self) -> None:
        self._connection.close()
        for one in self._made:
            one._close()


@pytest.fixture
def rig(migrated_database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig with the RULES of the test's module; it has looked once, a quarter of an hour after ``T0``."""
    made = Rig(migrated_database, monkeypatch)
    made.reload(request.module.RULES)
    made.check(T0 + 15 * MINUTE)
    yield made
    made.close()
