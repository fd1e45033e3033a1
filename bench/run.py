"""``make bench``: runs the scenes on servers of its own, prints the table, writes ``bench/results/<date>.json``.

``--quick`` is smaller and runs each once; ``--only NAME`` runs one scene. Figures are medians over the runs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pathlib
import signal
import statistics
import sys
from collections.abc import Callable

import alerts
import scenes
import splits
import steps
from rig import Rig

_ONCE = frozenset(("live", "rules", "rules_storm", "notified", "idle", "outage", "history"))
RESULTS = pathlib.Path(__file__).parent / "results"


def main() -> int:
    """Runs the scenes; 0 if each one's rows are complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in under two minutes, each scene once")
    parser.add_argument("--only", metavar="NAME", help="one scene")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each scene (default 3)")
    parser.add_argument("--history", type=int, default=0, metavar="ROWS", help="rows behind for the scene history")
    args = parser.parse_args()
    repeat = 1 if args.quick else args.repeat
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    rig = Rig(print)
    print(f"\n{'scene':<14}{'value':>10}{'reference':>12}{'ratio':>8}")
    found: dict[str, dict[str, float]] = {}
    try:
        for name, scene in _scenes(rig, quick=args.quick, history=args.history).items():
            if args.only in (None, name):
                runs = [scene() for _ in range(1 if name in _ONCE else repeat)]
                found[name] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
                print(_line(name, found[name]), flush=True)
        machine = scenes.machine(rig)
    finally:
        rig.close()
    print(f"\n{machine['cores']} x {machine['cpu']}; {machine['servers']}")
    if not args.quick and args.only is None:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{dt.datetime.now(dt.UTC):%Y-%m-%d}.json"
        file.write_text(json.dumps({"machine": machine, "figures": found}, indent=2) + "\n")
        print(f"written to {file.relative_to(RESULTS.parent.parent)}")
    return 0


def _scenes(rig: Rig, *, quick: bool, history: int) -> dict[str, Callable[[], dict[str, float]]]:
    count = 50_000 if quick else 200_000
    rates = [20_000, 40_000] if quick else [45_000, 50_000, 55_000, 60_000, 70_000]
    chosen: dict[str, Callable[[], dict[str, float]]] = {
        "backlog": lambda: scenes.backlog(rig, count),
        "live": lambda: scenes.live(rig, rates, 5 if quick else 60),
        "latency": lambda: scenes.latency(rig, 10_000, 5 if quick else 20),
        "arrays": lambda: scenes.arrays(rig, count // 40),
        "small_window": lambda: scenes.small_window(rig, count // 4),
        "rules": lambda: alerts.cost(rig, 3 * count, 1),
        "rules_storm": lambda: alerts.cost(rig, 3 * count, 15),
        "notified": lambda: alerts.notified(rig, 15 if quick else 60),
        "mixed": lambda: scenes.mixed(rig, count),
        "split": lambda: splits.split(rig, count),
        "idle": lambda: scenes.idle(rig, 5 if quick else 30),
        "startup": lambda: scenes.startup(rig),
        "outage": lambda: scenes.outage(rig, 5 * count, 5_000),
        "profile": lambda: steps.profile(rig, count),
    }
    if history:
        chosen["history"] = lambda: scenes.history(rig, history, count)
    return chosen


def _line(name: str, figures: dict[str, float]) -> str:
    """A row of the table: the figure, its reference of the same run, their ratio, and what else was measured."""
    columns = [_number(figures[key]) if key in figures else "" for key in ("value", "reference", "ratio")]
    rest = "  ".join(
        f"{key} {_number(value)}" for key, value in figures.items() if key not in ("value", "reference", "ratio")
    )
    return f"{name:<14}{columns[0]:>10}{columns[1]:>12}{columns[2]:>8}  {rest}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.3f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
