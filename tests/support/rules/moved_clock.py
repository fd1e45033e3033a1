"""For the tests of clocks, late data and confirmation: writer, current state and check on a clock moved by hand."""

import datetime as dt
import json
import types
from typing import Any

import psycopg
import pytest

from support.rules import cycle_fakes
from voltd import config, models
from voltd.database import connections
from voltd.host import host_clock
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import excursions, store
from voltd.rules import load
from voltd.rules.backtest import history
from voltd.rules.cycle import cycle, interfaces

T0 = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=12)


def at(seconds: float) -> dt.datetime:
    return T0 + dt.timedelta(seconds=seconds)


class Rig:
    """One daemon's writer and check; ``now`` is what its clock says, in seconds after ``T0``."""

    def __init__(self, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.stepped = 0.0  # how far its clock has been set back
        self.dsn = dsn
        clock = types.SimpleNamespace(now=lambda _zone: at(self.now))
        moved = types.SimpleNamespace(datetime=clock, UTC=dt.UTC, timedelta=dt.timedelta)
        monkeypatch.setattr(cycle, "dt", moved)
        monkeypatch.setattr(excursions, "dt", moved)
        monkeypatch.setattr(cycle, "time", types.SimpleNamespace(monotonic=lambda: self.now + self.stepped))
        self._connection = psycopg.connect(dsn, autocommit=True)
        self.sql(
            "TRUNCATE volt.vehicle_reading, volt.vehicle_current, volt.alert, volt.alert_delivery, volt.device_clock,"
            " volt_internal.excursion, volt.retained_reading, volt_internal.alert_state,"
            " volt_internal.ingest_state"
        )
        self._opened: list[psycopg.Connection[Any]] = [self._connection]
        self._connect = connections.connector(
            config.Settings(instance="t", database={"dsn": dsn + " options='-c role=volt_writer'"})
        )
        self.clock: host_clock.HostClock | None = None  # the host's, as the check asks it
        self.report = interfaces.Report(0.0, spooling=False, healthy=True)
        self._rules: str | None = None
        self.start()

    def start(self, rules: str | None = None, *, well_since: float = -86_400.0) -> None:
        """A daemon's start; all has been well for so long."""
        self._rules = rules or self._rules
        self.parsed = load.load(None) if self._rules is None else load.parse(self._rules, source="test")
        healthy = at(well_since), at(self.now)
        self.sql("UPDATE volt_internal.alert_progress SET healthy_since = %s, healthy_at = %s", *healthy)
        self._excursions = excursions.Excursions()
        self._store = store.PostgresStore(self._open, "t", excursions=self._excursions)
        self._current = write_current.CurrentState(self._open, "t", 1.0, heal=False)
        self._cycle = cycle.EvaluationCycle(
            self._open,
            "t",
            cycle_fakes.ThisDaemon(lambda: self.report),
            cycle_fakes.Notifier(),
            self._excursions,
            clock=self.clock,
        )
        self._cycle.use(self.parsed, ())
        self.check()

    def _open(self) -> connections.Connection:
        connection = self._connect()
        self._opened.append(connection)
        return connection

    def send(self, *readings: tuple[float, dict[str, Any]], vehicle: str = "V1", retained: bool = False) -> None:
        """One message that arrives now: (seconds by the device's clock, values) each."""
        every = [{"timestamp": at(seconds).isoformat(), **values} for seconds, values in readings]
        payload = json.dumps(every if len(every) > 1 else every[0]).encode()
        message = models.Message(f"volt/vehicle/{vehicle}/telemetry", payload, 1, at(self.now), retained=retained)
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message])
        assert not batch.dead_letters
        self._current.note(batch, self._store.write(batch))
        self._current.merge()

    def fill(self, second: float, column: str, value: object, *, vehicle: str = "V1") -> None:
        """Another message of the same device and time arrives now; what the stored reading lacks is filled in."""
        fields = {"soc_pct": "soc", "battery_temp_c": "batteryTemp", "charging_status": "chargingStatus"}
        payload = json.dumps({"timestamp": at(second).isoformat(), fields[column]: value}).encode()
        message = models.Message(f"volt/vehicle/{vehicle}/telemetry", payload, 1, at(self.now))
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message])
        with self._connection.transaction():
            self._excursions.insert(self._connection.cursor(), batch)
            self.sql(
                f"UPDATE volt.vehicle_reading SET {column} = %s, filled_at = %s"
                " WHERE vehicle_id = %s AND recorded_at = %s",
                value, at(self.now), vehicle, at(second),
            )  # fmt: skip
            field = column.removesuffix("_pct").removesuffix("_c")
            self.sql(
                f"UPDATE volt.vehicle_current SET {column} = %s, {field}_at = %s, last_seen_at = %s"
                " WHERE vehicle_id = %s",
                value, at(second), at(self.now), vehicle,
            )  # fmt: skip

    def check(self, seconds: float | None = None) -> None:
        if seconds is not None:
            self.now = seconds
        self._cycle.run()

    def set_back(self, seconds: float) -> None:
        """Its clock."""
        self.now -= seconds
        self.stepped += seconds

    def sql(self, statement: Any, *values: Any) -> list[Any]:
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def alerts(self, *rules: str) -> list[Any]:
        """(rule, severity, how it stands) of each episode."""
        found = self.sql(
            "SELECT rule, severity, CASE WHEN past THEN 'past' WHEN resolved_at IS NULL THEN 'open' ELSE 'over' END"
            " FROM volt.alert ORDER BY alert_id"
        )
        return [one for one in found if not rules or one[0] in rules]

    def episodes(self, where: str = "true") -> list[tuple[str, float | None, float | None, float]]:
        """(severity, first second, last second, peak) of each, by time."""
        found = self.sql(
            f"SELECT severity, opened_at, resolved_at, peak_value FROM volt.alert WHERE {where}"
            " ORDER BY opened_at, rule"
        )
        return [(severity, _second(begin), _second(end), peak) for severity, begin, end, peak in found]

    def tested(self, seconds: float, rule: str = "soc_low") -> list[Any]:
        """The same as ``voltd rules test`` says of the stored readings up to then."""
        period = history.Period(at(-86_400), at(seconds))
        with psycopg.connect(self.dsn) as connection:
            found = [one.episode for one in history.run(connection, self.parsed, period) if one.episode.rule == rule]
        found.sort(key=lambda one: one.opened_at)
        return [(one.severity.value, _second(one.opened_at), _second(one.resolved_at), one.peak_value) for one in found]

    def close(self) -> None:
        for one in self._opened:
            one.close()


def _second(moment: dt.datetime | None) -> float | None:
    return None if moment is None else (moment - T0).total_seconds()
