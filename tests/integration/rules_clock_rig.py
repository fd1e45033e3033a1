"""For the tests of clocks, late data and confirmation: writer, current state and check on a clock moved by hand."""

import datetime as dt
import json
import types

import psycopg

from voltd import config, models
from voltd.daemon import health
from voltd.database import session
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import excursions as write_excursions
from voltd.pipeline.write import store
from voltd.rules import load
from voltd.rules.backtest import history
from voltd.rules.cycle import check

T0 = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=12)


def at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


class Rig:
    """One daemon's writer and check; ``now`` is what its clock says, in seconds after ``T0``."""

    def __init__(self, dsn, monkeypatch):
        self.now = 0.0
        self.stepped = 0.0  # how far its clock has been set back
        self.dsn = dsn
        clock = types.SimpleNamespace(now=lambda _zone: at(self.now))
        moved = types.SimpleNamespace(datetime=clock, UTC=dt.UTC, timedelta=dt.timedelta)
        monkeypatch.setattr(check, "dt", moved)
        monkeypatch.setattr(write_excursions, "dt", moved)
        monkeypatch.setattr(check, "time", types.SimpleNamespace(monotonic=lambda: self.now + self.stepped))
        self._connection = psycopg.connect(dsn, autocommit=True)
        self.sql(
            "TRUNCATE volt.vehicle_reading, volt.vehicle_current, volt.alert, volt.alert_delivery, volt.device_clock,"
            " volt_internal.excursion, volt.retained_reading, volt_internal.alert_state,"
            " volt_internal.ingest_state"
        )
        self._opened = [self._connection]
        self._connect = session.connector(
            config.Settings(instance="t", database={"dsn": dsn + " options='-c role=volt_writer'"})
        )
        self.clock = None  # the host's, as the check asks it
        self.report = health.Report(0.0, spooling=False, healthy=True)
        self._rules = None
        self.start()

    def start(self, rules=None, *, well_since=-86_400.0):
        """A daemon's start; all has been well for so long."""
        self._rules = rules or self._rules
        self.parsed = load.load(None) if self._rules is None else load.parse(self._rules, source="test")
        healthy = at(well_since), at(self.now)
        self.sql("UPDATE volt_internal.alert_progress SET healthy_since = %s, healthy_at = %s", *healthy)
        self._excursions = write_excursions.Excursions()
        self._store = store.PostgresStore(self._open, "t", excursions=self._excursions)
        self._current = write_current.CurrentState(self._open, "t", 1.0, heal=False)
        self._check = check.Check(
            self._open, "t", look=lambda: self.report, excursions=self._excursions, clock=self.clock
        )
        self._check.use(self.parsed, ())
        self.check()

    def _open(self):
        self._opened.append(self._connect())
        return self._opened[-1]

    def send(self, *readings, vehicle="V1", retained=False):
        """One message that arrives now: (seconds by the device's clock, values) each."""
        every = [{"timestamp": at(seconds).isoformat(), **values} for seconds, values in readings]
        payload = json.dumps(every if len(every) > 1 else every[0]).encode()
        message = models.Message(f"volt/vehicle/{vehicle}/telemetry", payload, 1, at(self.now), retained=retained)
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message])
        assert not batch.dead_letters
        self._current.note(batch, self._store.write(batch))
        self._current.merge()

    def fill(self, second, column, value, *, vehicle="V1"):
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

    def check(self, seconds=None):
        if seconds is not None:
            self.now = seconds
        self._check.run()

    def set_back(self, seconds):
        """Its clock."""
        self.now -= seconds
        self.stepped += seconds

    def sql(self, statement, *values):
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def alerts(self, *rules):
        """(rule, severity, how it stands) of each episode."""
        found = self.sql(
            "SELECT rule, severity, CASE WHEN past THEN 'past' WHEN resolved_at IS NULL THEN 'open' ELSE 'over' END"
            " FROM volt.alert ORDER BY alert_id"
        )
        return [one for one in found if not rules or one[0] in rules]

    def episodes(self, where="true"):
        """(severity, first second, last second, peak) of each, by time."""
        found = self.sql(
            f"SELECT severity, opened_at, resolved_at, peak_value FROM volt.alert WHERE {where}"
            " ORDER BY opened_at, rule"
        )
        return [(severity, _second(begin), _second(end), peak) for severity, begin, end, peak in found]

    def tested(self, seconds, rule="soc_low"):
        """The same as ``voltd rules test`` says of the stored readings up to then."""
        period = history.Period(at(-86_400), at(seconds))
        with psycopg.connect(self.dsn) as connection:
            found = [one.episode for one in history.run(connection, self.parsed, period) if one.episode.rule == rule]
        found.sort(key=lambda one: one.opened_at)
        return [(one.severity.value, _second(one.opened_at), _second(one.resolved_at), one.peak_value) for one in found]

    def close(self):
        for one in self._opened:
            one.close()


def _second(moment):
    return None if moment is None else (moment - T0).total_seconds()
