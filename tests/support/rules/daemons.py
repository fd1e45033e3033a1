"""For the tests of ``EvaluationCycle``: daemons on a real database of which only the writer and the check take part."""

import datetime as dt
import json
import types
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from support.rules import cycle_fakes
from voltd import config, models
from voltd.alerts import urgent
from voltd.database import connections
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load
from voltd.rules.cycle import cycle, interfaces

WELL = interfaces.Report(0.0, spooling=False, healthy=True)
SOC_LOW = """
[rules.soc_low]
metric = "soc_pct"
applies_to = ["vehicle"]
fire_below = 15.0
clear_above = 20.0
"""
OVERSPEED = """
[rules.overspeed]
metric = "speed_kmh"
applies_to = ["vehicle"]
fire_above = 120.0
clear_below = 115.0
"""
INGEST_LAG = """
[rules.ingest_lag]
metric = "ingest_lag_s"
applies_to = ["system"]
fire_above = 30.0
clear_below = 5.0
fire_when_spooling = true
"""
STALE = """
[rules.soc_low]
metric = "silence"
applies_to = ["vehicle"]
fire_above = 300.0
"""
_EVERYWHERE: Any = types.SimpleNamespace(name="phone", wants=lambda **_: True)  # a channel that wants everything


class _Notifier(cycle_fakes.Notifier):
    """Sends everything at once."""

    def __init__(self, sent: list[tuple[Any, Any]]) -> None:
        self._sent = sent
        self._sent_at: dict[Any, dt.datetime] = {}

    def send_now(self, rows: Sequence[Any]) -> None:
        self._sent += [(one.rule, one.transition) for one in rows]
        self._sent_at |= {urgent.key(one): dt.datetime.now(dt.UTC) for one in rows}

    def sent_at(self, _channel: str, what: Any) -> dt.datetime | None:
        return self._sent_at.get(what)


class Daemon:
    """An evaluation cycle, and a store whose writer learns from it what to look for."""

    def __init__(self, connect: Callable[[], connections.Connection], instance: str) -> None:
        self.report = WELL
        self.sent: list[tuple[Any, Any]] = []  # at once, without a database
        self.during_cycle: list[Callable[[], object]] = []  # what happens during the next cycles, once each
        self.before_commit: list[Callable[[], object]] = []  # what happens before the next batch is committed
        excursions = Excursions()
        self.cycle = cycle.EvaluationCycle(
            connect, instance, cycle_fakes.ThisDaemon(self._look), _Notifier(self.sent), excursions
        )
        self._store = store.PostgresStore(
            connect, instance, keep_dead_letters=self._keep_dead_letters, excursions=excursions
        )
        self._current = write_current.CurrentState(connect, instance, 1.0)

    def use(self, *texts: str) -> None:
        """Rules from now on."""
        self.cycle.use(load.parse("".join(texts), source="test"), [_EVERYWHERE])

    def receive(self, vehicle: str, **values: Any) -> None:
        """One reading of this moment, stored and committed."""
        now = dt.datetime.now(dt.UTC)
        payload = json.dumps({"timestamp": now.isoformat(), **values}).encode()
        message = models.Message(f"volt/vehicle/{vehicle}/telemetry", payload, 1, now)
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message])
        self._current.note(batch, self._store.write(batch))
        self._current.merge()

    def _look(self) -> interfaces.Report:
        if self.during_cycle:
            self.during_cycle.pop(0)()
        return self.report

    def _keep_dead_letters(self, *_: object) -> tuple[()]:
        while self.before_commit:
            self.before_commit.pop(0)()
        return ()


class World:
    """A migrated database in which nothing has happened yet, and the daemons on it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._settings = config.Settings(database={"dsn": f"{dsn} options='-c role=volt_writer'"})
        self._connections: list[connections.Connection] = []
        self.sql("TRUNCATE volt.alert, volt.alert_delivery, volt_internal.alert_state")
        self.sql("TRUNCATE volt_internal.excursion, volt.daemon")
        self.sql("TRUNCATE volt.vehicle_reading, volt.vehicle_current, volt_internal.ingest_state")
        self.sql("DELETE FROM volt_internal.alert_progress")
        self.sql("INSERT INTO volt_internal.alert_progress DEFAULT VALUES")

    def daemon(self, *texts: str, instance: str = "t") -> Daemon:
        """One with these rules."""
        made = Daemon(self._connect, instance)
        made.use(*texts)
        return made

    def sql(self, statement: Any, *values: Any) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def episodes(self) -> list[Any]:
        """(rule, device, whether it is open) of each."""
        return self.sql("SELECT rule, device_id, resolved_at IS NULL FROM volt.alert ORDER BY alert_id")

    def notified(self) -> list[Any]:
        """(rule, device, transition, status) of all that was or is to be sent, in order."""
        return self.sql(
            "SELECT rule, device_id, transition, status FROM volt.alert_delivery JOIN volt.alert USING (alert_id)"
            " ORDER BY delivery_id"
        )

    def count(self, table: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM volt_internal.{table}")[0][0])

    def close(self) -> None:
        for one in self._connections:
            one.close()

    def _connect(self) -> connections.Connection:
        self._connections.append(connections.connector(self._settings)())
        return self._connections[-1]
