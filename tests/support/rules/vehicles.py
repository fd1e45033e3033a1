"""For the tests of the check on vehicles: a migrated database, the writer and the check, without a daemon around."""

import datetime as dt
from typing import Any

import psycopg

from support.rules import cycle_fakes
from voltd import config, models
from voltd.database import connections
from voltd.pipeline.write import store as write
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load
from voltd.rules.cycle import cycle, interfaces


def ago(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)


class Rig:
    """The writer's store and the check of one daemon, on a database in which nothing has happened yet."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self.sql(
            "TRUNCATE volt.vehicle_reading, volt.vehicle_current, volt.alert, volt.alert_delivery,"
            " volt_internal.excursion, volt.retained_reading, volt_internal.alert_state"
        )
        settings = config.Settings(instance="t", database={"dsn": dsn + " options='-c role=volt_writer'"})
        self._opened: list[psycopg.Connection[Any]] = [self._connection]
        self._connector = connections.connector(settings)
        self._excursions = Excursions()
        self._store = write.PostgresStore(self._connect, "t", excursions=self._excursions)
        self.start()

    def start(self, rules: str | None = None) -> None:
        """A daemon's start; with its first check it looks for what the rules need."""
        parsed = load.load(None) if rules is None else load.parse(rules, source="test")
        report = interfaces.Report(0.0, spooling=False, healthy=True)
        self._cycle = cycle.EvaluationCycle(
            self._connect, "t", cycle_fakes.ThisDaemon(lambda: report), cycle_fakes.Notifier(), self._excursions
        )
        self._cycle.use(parsed, ())
        self.check()

    def _connect(self) -> connections.Connection:
        connection = self._connector()
        self._opened.append(connection)
        return connection

    def close(self) -> None:
        for one in self._opened:
            one.close()

    def check(self) -> None:
        self._cycle.run()

    def store(self, *readings: tuple[str, float, float, dict[str, Any]]) -> list[models.VehicleReading]:
        """One batch: (vehicle, recorded so many seconds ago, received so many seconds ago, values) each a message."""
        batch = models.Batch([])
        for vehicle, recorded, received, values in readings:
            kept = dict(values)
            retained = kept.pop("retained", False)
            at = ago(received)
            batch.vehicle_sources.append((len(batch.messages), None))
            batch.messages.append(models.Message("t", b"{}", 1, at, retained=retained))
            fields: dict[str, Any] = dict.fromkeys(models.VehicleReading._fields)
            fields |= {"vehicle_id": vehicle, "recorded_at": ago(recorded), "received_at": at} | kept
            batch.vehicles.append(models.VehicleReading(**fields))
            batch.retained = batch.retained or retained
        self._store.write(batch)
        for one in batch.vehicles:
            self.sql(
                "INSERT INTO volt.vehicle_current AS c (vehicle_id, recorded_at, charging_status, charging_status_at)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (vehicle_id) DO UPDATE SET"
                " recorded_at = greatest(c.recorded_at, excluded.recorded_at),"
                " charging_status = coalesce(excluded.charging_status, c.charging_status),"
                " charging_status_at = coalesce(excluded.charging_status_at, c.charging_status_at)",
                one.vehicle_id, one.recorded_at, one.charging_status, one.charging_status and one.recorded_at,
            )  # fmt: skip
        return batch.vehicles

    def age(self, seconds: float) -> None:
        """All that there is happened so much earlier, and a new daemon goes on with it."""
        by = dt.timedelta(seconds=seconds)
        self.sql("CREATE TABLE moved AS SELECT * FROM volt.vehicle_reading")  # into another chunk, maybe
        self.sql("UPDATE moved SET recorded_at = recorded_at - %s, received_at = received_at - %s", by, by)
        self.sql("TRUNCATE volt.vehicle_reading")
        self.sql("INSERT INTO volt.vehicle_reading SELECT * FROM moved")
        self.sql("DROP TABLE moved")
        self.sql("UPDATE volt.vehicle_current SET recorded_at = recorded_at - %s", by)
        self.sql(
            "UPDATE volt.retained_reading"
            " SET recorded_at = recorded_at - %s, received_at = received_at - %s", by, by,
        )  # fmt: skip
        self.sql("UPDATE volt.alert SET opened_at = opened_at - %s, last_seen_at = last_seen_at - %s", by, by)
        for name in ("evaluated_at", "opened_at", "last_seen_at"):
            self.sql(
                "UPDATE volt_internal.alert_state"
                " SET evaluated_at = evaluated_at - CASE WHEN %s = 'evaluated_at' THEN %s ELSE '0' END,"
                " state = state || jsonb_build_object(%s::text, (state->>%s)::timestamptz - %s) WHERE state ? %s",
                name, by, name, name, by, name,
            )  # fmt: skip
        self.start()

    def sql(self, statement: Any, *values: Any) -> list[Any]:
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def alerts(self) -> list[Any]:
        """(rule, vehicle, how it stands) of each episode."""
        return self.sql(
            "SELECT rule, device_id, CASE WHEN past THEN 'past' WHEN resolved_at IS NULL THEN 'open' ELSE 'over' END"
            " FROM volt.alert ORDER BY alert_id"
        )

    def waiting(self) -> int:
        ((count,),) = self.sql("SELECT count(*) FROM volt_internal.excursion")
        return int(count)
