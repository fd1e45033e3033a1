"""The scenes: each sets up what one figure needs, runs it, checks that every message became a row, returns numbers.

A figure with a reference takes both in the same run, one after the other, on the same data.
"""

from __future__ import annotations

import datetime as dt
import pathlib
import statistics
import subprocess
import time

import load
import psycopg
from rig import Daemon, Rig

STEP = dt.timedelta(milliseconds=1)
COLUMNS = (
    "vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude,"
    " longitude, charging_status, odometer_km, diagnostics, received_at"
)


def backlog(rig: Rig, count: int) -> dict[str, float]:
    """Messages a second out of a full queue: mosquitto_sub, then voltd, each with its own queue."""
    rig.empty()
    daemon = rig.daemon(mqtt__receive_maximum=65535)
    daemon.subscribe()
    reference = _subscriber(rig, "-E")
    reference.wait(20)
    publish(rig, load.packets(count, start(), STEP))
    began = time.monotonic()
    if _subscriber(rig, "-C", str(count)).wait(120):
        raise RuntimeError("mosquitto_sub did not take the whole queue")
    reference_s = time.monotonic() - began
    load.forget(rig.port, "bench-reference")
    rate = drain(daemon, count)
    verify(rig, count)
    return {"value": rate, "reference": count / reference_s, "ratio": rate * reference_s / count}


def mixed(rig: Rig, count: int) -> dict[str, float]:
    """Messages a second out of a queue: clean, all of it again, and on empty tables with 1 % malformed."""
    rates = {}
    daemon = rig.daemon(mqtt__receive_maximum=65535)
    clean = load.packets(count, start(), STEP)
    for name, made in (
        ("clean", clean),
        ("redelivered", clean),
        ("malformed", load.packets(count, start(), STEP, malformed_every=100)),
    ):
        if name != "redelivered":
            rig.empty()
        daemon.subscribe()
        publish(rig, made)
        rates[name] = drain(daemon, count)
        bad = -(-count // 100) if name == "malformed" else 0
        verify(rig, count - bad)
        verify(rig, bad, "dead_letter")
    return {
        "value": rates["clean"],
        "malformed_ratio": rates["malformed"] / rates["clean"],
        "redelivered_ratio": rates["redelivered"] / rates["clean"],
    }


def arrays(rig: Rig, messages: int) -> dict[str, float]:
    """Readings a second out of arrays of 60, against psql's copy of the same rows into the same table."""
    made, lines = load.arrays(messages, 60, start(20), dt.timedelta(milliseconds=20))
    file = rig.folder / "rows.csv"
    file.write_bytes(b"".join(lines))
    file.chmod(0o644)
    rig.empty()
    psql = rig.servers.tool("psql") or "psql"
    command = f"\\copy volt.vehicle_reading ({COLUMNS}) FROM '{file}' WITH (FORMAT csv)"
    began = time.monotonic()
    subprocess.run([psql, rig.dsn, "-qc", command], check=True)
    reference = len(lines) / (time.monotonic() - began)
    rig.empty()
    daemon = rig.daemon(mqtt__receive_maximum=65535)
    daemon.subscribe()
    publish(rig, made)
    rate = drain(daemon, messages) * 60
    verify(rig, len(lines))
    return {"value": rate, "reference": reference, "ratio": rate / reference}


def small_window(rig: Rig, count: int) -> dict[str, float]:
    """Messages a second with 20 in flight, as behind a broker that allows no more."""
    rig.empty()
    daemon = rig.daemon(mqtt__receive_maximum=20)
    daemon.subscribe()
    publish(rig, load.packets(count, start(), STEP))
    rate = drain(daemon, count)
    verify(rig, count)
    return {"value": rate}


def live(rig: Rig, rates: list[int], seconds: float) -> dict[str, float]:
    """The highest offered rate at which the lag does not grow: the last third waits no longer than the middle one."""
    best = {"value": 0.0, "resident_mb": 0.0}
    for rate in rates:
        rig.empty()
        count = int(rate * seconds)
        made = load.packets(count, start(), dt.timedelta(microseconds=500))
        daemon = rig.daemon(mqtt__receive_maximum=65535)
        daemon.start()
        publisher = load.Publisher(rig.port)
        sent_s = publisher.send(made, rate, window=60_000)
        publisher.close()
        began = publisher.began_at
        resident_mb = daemon.resident_mb()
        daemon.wait_for(count)
        lags = _lags(daemon, began, rate)
        daemon.stop()
        verify(rig, count)
        middle, last = lags[len(lags) // 3 : 2 * len(lags) // 3], lags[2 * len(lags) // 3 :]
        steady = statistics.median(last) <= max(0.3, 1.5 * statistics.median(middle))
        if not steady or sent_s > seconds * 1.02:
            break
        best = {"value": float(rate), "resident_mb": resident_mb, "lag_s": round(statistics.median(last), 3)}
    return best


def latency(rig: Rig, rate: int, seconds: float) -> dict[str, float]:
    """From the planned time of publishing to the COMMIT, in ms: 50 and 99 of 100 messages."""
    rig.empty()
    count = int(rate * seconds)
    daemon = rig.daemon()
    daemon.start()
    began = publish_as_it_happens(rig, count, rate, block=10)
    daemon.wait_for(count)
    daemon.stop()
    verify(rig, count)
    waits, before = [], 0
    for at, total, _ms in daemon.commits():
        waits += [at - (began + number / rate) for number in range(before, total)]
        before = total
    waits.sort()
    return {"p50_ms": 1000 * waits[len(waits) // 2], "p99_ms": 1000 * waits[len(waits) * 99 // 100]}


def idle(rig: Rig, seconds: float) -> dict[str, float]:
    """Memory and CPU of a daemon to which nothing is sent."""
    rig.empty()
    daemon = rig.daemon()
    daemon.start()
    time.sleep(3)
    cpu_s, began = daemon.cpu_s(), time.monotonic()
    time.sleep(seconds)
    used = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began)
    resident_mb = daemon.resident_mb()
    daemon.stop()
    return {"cpu_pct": 100 * used, "resident_mb": resident_mb}


def startup(rig: Rig) -> dict[str, float]:
    """Seconds from starting the process to the first stored reading, which waits in the queue."""
    rig.empty()
    daemon = rig.daemon()
    daemon.subscribe()
    publish(rig, load.packets(2, start(), STEP))
    began = daemon.start()
    first = daemon.wait_for(1)
    daemon.stop()
    return {"value": first - began}


def history(rig: Rig, rows: int, count: int) -> dict[str, float]:
    """Backlog rate with so many rows of the last 30 days behind, against empty tables."""
    empty = backlog(rig, count)["value"]
    rig.empty()
    _fill(rig, rows)
    daemon = rig.daemon(mqtt__receive_maximum=65535)
    daemon.start()  # a daemon that is new to a database reads its last day once; that is not measured
    publish(rig, load.packets(2, start(20), STEP))
    daemon.wait_for(2)
    time.sleep(20)
    daemon.stop(keep_session=True)
    daemon.log.unlink()
    publish(rig, load.packets(count, start(), STEP))
    rate = drain(daemon, count)
    verify(rig, rows + count + 2)
    rig.empty()
    return {"value": rate, "reference": empty, "ratio": rate / empty, "rows": float(rows)}


def outage(rig: Rig, count: int, rate: int) -> dict[str, float]:
    """Messages a second into the spool while the database is away, and out of it afterwards."""
    rig.empty()
    daemon = rig.daemon(spool__after_s=1)
    daemon.start()
    rig.servers.database.stop(immediate=True)
    publisher = load.Publisher(rig.port)
    sent_s = publisher.send(load.packets(count, start(), STEP), rate, window=60_000)
    publisher.close()
    while daemon.spooled() < count:
        time.sleep(0.1)
    rig.servers.database.start()
    began = time.time()
    while rig.rows("vehicle_reading", "meter_reading") < count:
        time.sleep(0.1)
    caught_up_s = time.time() - began
    daemon.stop()
    verify(rig, count)
    return {"value": count / caught_up_s, "offered": count / sent_s, "messages": float(count)}


def _fill(rig: Rig, rows: int) -> None:
    """Half vehicles, half meters, one reading a minute each, 30 days, compressed where the edition can."""
    devices = rows // 2 // (30 * 1440) + 1
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        for table, columns, values in (
            ("vehicle_reading", "vehicle_id, recorded_at, soc_pct, speed_kmh, received_at", "'H' || d, at, 50, 50, at"),
            ("meter_reading", "meter_id, recorded_at, voltage_v, power_kw, received_at", "'H' || d, at, 230, 3, at"),
        ):
            left = rows // 2
            for day in range(30, 0, -1):
                day_rows = min(left, rows // 2 - (rows // 2 // 30) * 29 if day == 1 else rows // 2 // 30)
                connection.execute(
                    f"INSERT INTO volt.{table} ({columns}) SELECT {values} FROM (SELECT n %% %s AS d,"
                    " date_trunc('day', now()) - make_interval(days => %s) + n / %s * INTERVAL '1 minute' AS at"
                    " FROM generate_series(0, %s) AS n) AS made",
                    (devices, day, devices, day_rows - 1),
                )
                left -= day_rows
            if rig.edition.file_suffix == "community":
                connection.execute(
                    f"SELECT compress_chunk(c) FROM show_chunks('volt.{table}', older_than => INTERVAL '7 days') AS c"
                )
        connection.execute("CHECKPOINT")


def start(hours: float = 12) -> dt.datetime:
    """The time of a scene's first reading, so many hours ago."""
    return dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)


def publish(rig: Rig, made: list[bytes]) -> None:
    """Publishes as fast as possible."""
    publisher = load.Publisher(rig.port)
    publisher.send(made)
    publisher.close()


def publish_as_it_happens(rig: Rig, count: int, rate: float, *, block: int) -> float:
    """Publishes current readings on a fixed schedule, ``block`` at a time; returns the wall clock of the start."""
    start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
    made = load.packets(count, start, dt.timedelta(seconds=1 / rate))
    publisher = load.Publisher(rig.port)
    load.BLOCK, usual = block, load.BLOCK
    time.sleep(max(0.0, start.timestamp() - time.time()))
    publisher.send(made, rate)
    load.BLOCK = usual
    publisher.close()
    return publisher.began_at


def drain(daemon: Daemon, count: int, *, stop: bool = True) -> float:
    """Messages a second from CONNACK to the COMMIT of the last one."""
    daemon.start()
    done = daemon.wait_for(count)
    rate = count / (done - daemon.connected_at())
    if stop:
        daemon.stop()
    return rate


def _subscriber(rig: Rig, *words: str) -> subprocess.Popen[bytes]:
    """mosquitto_sub with a session that outlives it and the widest window."""
    program = rig.servers.tool("mosquitto_sub")
    if program is None:
        raise RuntimeError("the reference needs mosquitto_sub: install mosquitto-clients")
    options = ["-p", str(rig.port), "-V", "5", "-q", "1", "-c", "-i", "bench-reference", "-t", "volt/#"]
    options += ["-D", "connect", "receive-maximum", "65535"]
    return subprocess.Popen([program, *options, *words], stdout=subprocess.DEVNULL)


def _lags(daemon: Daemon, began: float, rate: float) -> list[float]:
    """At each COMMIT, how long ago its last message should have been published."""
    return [at - (began + total / rate) for at, total, _ms in daemon.commits()]


def verify(rig: Rig, expected: int, *tables: str) -> None:
    """Stops the benchmark if rows are missing or too many."""
    found = rig.rows(*(tables or ("vehicle_reading", "meter_reading")))
    if found != expected:
        raise RuntimeError(f"{found} rows instead of {expected}: the figure is invalid")


def machine(rig: Rig) -> dict[str, object]:
    """The machine and the servers."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown", "cores": len(names), "servers": rig.servers.source}
