"""The benchmark of the analysts' queries in its smallest size: each query answers what the devices measured."""

import os
import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).parents[3] / "bench"
QUERIES = (
    "vehicle_latest", "history_newest", "history_oldest", "performance_interval", "performance_register",
    "vehicle_30_days", "fleet_7_days", "fleet_30_days", "all_yesterday", "closed_hour", "refresh", "late", "late_cpu",
)  # fmt: skip


def test_every_answer_is_what_the_devices_measured(database_of, broker):
    """The benchmark ends with 2 where an answer is wrong; whether it is fast enough says nothing here."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VOLTD_")} | {
        "VOLTD_TEST_DATABASE_DSN": database_of("apache", schema=True),  # energy is kept in the same tables on both
        "VOLTD_TEST_MQTT_HOST": broker.host,
        "VOLTD_TEST_MQTT_PORT": str(broker.port),
    }
    done = subprocess.run(
        [sys.executable, BENCH / "analytics.py", "--scale", "0.0001", "--days", "8", "--runs", "2"],
        env=environ, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    table = [line.split()[0] for line in done.stdout.partition("\nquery ")[2].splitlines()[1:] if line]
    assert (done.returncode in (0, 1), table[: len(QUERIES)]) == (True, list(QUERIES)), done.stdout + done.stderr
