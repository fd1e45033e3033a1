"""For the tests of ``voltd rules``: a migrated database, stored readings, and the command with a reader's rights."""

import datetime as dt
import json
import os
import pathlib
from typing import Any

import psycopg

from support import commands, schema

T0 = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=12)
RULES = """
[rules.soc_low]
metric = "soc_pct"
applies_to = ["vehicle"]
fire_below = 15.0
clear_above = 20.0
clear_when_charging = true
severity_steps = [{ severity = "critical", below = 5.0 }]
[rules.overspeed]
metric = "speed_kmh"
applies_to = ["vehicle"]
fire_above = 120.0
clear_below = 115.0
[rules.stale]
metric = "silence"
applies_to = ["vehicle", "meter"]
fire_above = 300.0
[rules.efficiency_low]
metric = "efficiency_pct"
applies_to = ["vehicle"]
fire_below = 85.0
clear_above = 86.99
late_after_s = 7200.0
[rules.clock_skew]
metric = "clock_skew_s"
applies_to = ["vehicle", "meter"]
fire_above = 30.0
clear_below = 5.0
min_count = 3
severity = "info"
[rules.ingest_lag]
metric = "ingest_lag_s"
applies_to = ["system"]
fire_above = 30.0
"""


def at(minutes: float) -> dt.datetime:
    return T0 + dt.timedelta(minutes=minutes)


class History:
    """A migrated database, readings in it, and ``voltd rules`` on it as an analyst's role."""

    def __init__(self, dsn: str, folder: pathlib.Path) -> None:
        self.dsn, self._folder = dsn, folder
        self.file = self.write("tried.toml", RULES)

    def write(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text)
        return str(path)

    def execute(self, statement: Any, *values: Any) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement, values)

    def keep(self) -> None:
        """Energy and efficiency of all hours until now."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            schema.keep(connection)

    def vehicle(self, device: str, *readings: tuple[float, dict[str, Any]]) -> None:
        """Readings as (minute, values), the arrival among these; and the current state as the writer keeps it."""
        with psycopg.connect(self.dsn) as connection:
            for minute, values in readings:
                kept = {"received_at": at(values.pop("received", minute)), **values}
                columns = ", ".join(kept)
                connection.execute(
                    f"INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, {columns})"
                    f" VALUES (%s, %s{', %s' * len(kept)})",
                    (device, at(minute), *kept.values()),
                )
                connection.execute(
                    "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, charging_status,"
                    " charging_status_at) VALUES (%(id)s, %(at)s, %(word)s, %(word_at)s)"
                    " ON CONFLICT (vehicle_id) DO UPDATE SET recorded_at = excluded.recorded_at, charging_status ="
                    " coalesce(excluded.charging_status, vehicle_current.charging_status), charging_status_at ="
                    " coalesce(excluded.charging_status_at, vehicle_current.charging_status_at)",
                    {
                        "id": device,
                        "at": at(minute),
                        "word": kept.get("charging_status"),
                        "word_at": at(minute) if kept.get("charging_status") else None,
                    },
                )

    def meter(self, device: str, *minutes: float) -> None:
        for minute in minutes:
            self.execute(
                "INSERT INTO volt.meter_reading (meter_id, recorded_at, received_at, power_kw) VALUES (%s, %s, %s, 1)",
                device, at(minute), at(minute),
            )  # fmt: skip

    def voltd(self, *words: object, code: int = 0, in_force: str | None = None) -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")}
        environ |= {"VOLTD_DATABASE__DSN": f"{self.dsn} options='-c role=volt_reader'", "TZ": "UTC"}
        environ |= {"VOLTD_ALERTS__RULES_FILE": str(in_force or self.file)}
        result = commands.run(["rules", *words], environ, 120)
        assert result.returncode == code, (result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    def lines(
        self, *words: str, begins: float = 0, ends: float = 120, file: str | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        period = ("--from", at(begins).isoformat(), "--to", at(ends).isoformat())
        text = self.voltd("test", file or self.file, *period, "--json", *words, **options)
        return [json.loads(line) for line in text.splitlines()]

    def episodes(self, *words: str, **options: Any) -> list[Any]:
        """(rule, device, severity, first minute, last minute) of each, by rule and time."""
        found = [
            (
                one["rule"],
                one["device_id"],
                one["severity"],
                minute_of(one["opened_at"]),
                minute_of(one["resolved_at"]) if one["resolved_at"] else None,
            )
            for one in self.lines(*words, **options)
            if one["kind"] == "episode"
        ]
        return sorted(found, key=lambda one: (one[0], one[3], one[1]))


def minute_of(text: str) -> float:
    return (dt.datetime.fromisoformat(text) - T0) / dt.timedelta(minutes=1)
