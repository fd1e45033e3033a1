"""``make bench-analytics``: times the analysts' queries on servers of its own, against the figures that are wanted.

``--quick`` takes a hundredth of the devices, ``--scale`` any share; ``--days`` takes fewer days; ``--only NAME`` runs
one query. Exit codes: 0 every wanted figure was met, 1 some were not, 2 an answer was wrong. ``fleet`` says what the
devices measured, ``fill`` stores it, ``asks`` has the queries, ``upkeep`` what ``refresh`` and ``late`` measure.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import math
import pathlib
import random
import signal
import sys
import time
from typing import Any

import asks
import fill
import fleet
import psycopg
import scenes
import upkeep
from rig import Rig

RESULTS = pathlib.Path(__file__).parent / "results"
_CONF = ("shared_buffers = '2GB'", "max_wal_size = '8GB'")
_PATIENCE_S = 60  # for one query before it is timed


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured of one query, and what is wanted, in milliseconds."""

    p50_ms: float
    p99_ms: float
    wanted_ms: float
    runs: int

    @property
    def met(self) -> bool:
        """Whether 99 of 100 runs took no longer than wanted."""
        return self.p99_ms <= self.wanted_ms


def main() -> int:
    """Fills a database, asks, prints the table; says whether every wanted figure was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the devices")
    parser.add_argument("--scale", type=float, help="this share of the devices (default 1)")
    parser.add_argument("--days", type=int, default=30, help="of readings, and of a year as much less (default 30)")
    parser.add_argument("--only", metavar="NAME", help="one query")
    parser.add_argument("--runs", type=int, default=100, help="of a query (default 100), fewer where it takes a second")
    args = parser.parse_args()
    scale = args.scale or (0.01 if args.quick else 1.0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    rig = Rig(print, postgres_conf=_CONF)
    try:
        found = _measure(rig, fleet.sized(scale, args.days), args.only, args.runs)
        machine = scenes.machine(rig)
    except asks.WrongAnswer as error:
        print(f"wrong answer: {error}", file=sys.stderr)
        return 2
    finally:
        rig.close()
    print(f"\n{machine['cores']} x {machine['cpu']}; {machine['servers']}")
    if (scale, args.days, args.only) == (1, 30, None):
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"analytics-{dt.datetime.now(dt.UTC):%Y-%m-%d}-{rig.edition.file_suffix}.json"
        figures = {name: dataclasses.asdict(figure) for name, figure in found.items()}
        file.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")
        print(f"written to {file.relative_to(RESULTS.parent.parent)}")
    return 0 if all(figure.met for figure in found.values()) else 1


def _measure(rig: Rig, devices: fleet.Fleet, only: str | None, runs: int) -> dict[str, Figure]:
    vehicles, lasting = devices.vehicles, devices.lasting
    print(f"{vehicles} + {vehicles} devices, {lasting} + {lasting} of them for {devices.days} days")
    began = time.monotonic()
    upkeep.pause_jobs(rig)
    fill.fill(rig, devices)
    first = upkeep.cost(rig, lambda: upkeep.bring_up_to_date(rig))
    print(f"first brought up to date in {first.wall_s:,.1f} s, {first.cpu_s:,.1f} s of CPU")
    fill.keep_a_year(rig, devices)
    fill.settle(rig)
    upkeep.open_again(rig, devices)
    fill.fill_last_hour(rig, devices)
    refresh = upkeep.cost(rig, lambda: upkeep.bring_up_to_date(rig))
    fill.settle(rig)
    print(f"filled in {time.monotonic() - began:,.0f} s")

    found: dict[str, Figure] = {}

    def note(name: str, times_ms: list[float], wanted_ms: float) -> None:
        if only in (None, name):
            found[name] = Figure(_of_100(50, times_ms), _of_100(99, times_ms), wanted_ms, len(times_ms))
            print(_line(name, found[name]), flush=True)

    print(f"\n{'query':<22}{'p50 ms':>10}{'p99 ms':>10}{'wanted':>10}{'':>8}{'runs':>6}")
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        connection.execute("SET ROLE volt_reader")
        for name, query in asks.queries(devices).items():
            if only in (None, name):
                note(name, _ask(connection, query, runs), query.wanted_ms)
        asks.closed_hour(connection, devices)
        note("refresh", [1000 * refresh.wall_s], 5000)
        if only in (None, "late", "late_cpu"):
            late = upkeep.cost(rig, lambda: upkeep.late_readings(rig, devices))
            asks.late_hours(connection, devices)
            note("late", [1000 * late.wall_s], 60_000)
            note("late_cpu", [1000 * late.cpu_s], 3000)
    return found


def _ask(connection: psycopg.Connection[Any], query: asks.Query, runs: int) -> list[float]:
    """Milliseconds of each run on random devices, after all of them were asked for once; each answer is checked."""
    choose = random.Random(12)  # noqa: S311 the same ones each time
    chosen = [choose.choice(query.of) for _ in range(runs)]

    def run(one: int) -> float:
        began = time.perf_counter()
        rows = connection.execute(query.text.encode(), query.values(one)).fetchall()
        took_s = time.perf_counter() - began
        query.check(one, rows)
        return took_s

    first_s = run(chosen[0])
    if first_s > 1:
        chosen = chosen[: max(3, int(_PATIENCE_S / first_s))]
    ends = time.monotonic() + _PATIENCE_S
    for one in chosen:
        if time.monotonic() < ends:
            run(one)
    return [1000 * run(one) for one in chosen]


def _of_100(share: int, values: list[float]) -> float:
    """So many of 100 values are not above this one."""
    return sorted(values)[math.ceil(share / 100 * len(values)) - 1]


def _line(name: str, figure: Figure) -> str:
    numbers = "".join(
        f"{value:>10,.2f}" if value < 100 else f"{value:>10,.0f}" for value in (figure.p50_ms, figure.p99_ms)
    )
    return f"{name:<22}{numbers}{figure.wanted_ms:>10,.0f}{'' if figure.met else 'missed':>8}{figure.runs:>6}"


if __name__ == "__main__":
    sys.exit(main())
