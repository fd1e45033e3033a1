"""``make torture MINUTES=n SEED=s``: random faults while a fleet publishes, until one reading is lost or doubled.

The seed decides which faults come, how long they last and how fast is published, so it repeats a run, and with STEP one
step of it. Prints a line for each fault and the figures at the end; ends with 1 at the first fault that fails.
"""

# ruff: noqa: T201 - a script that prints
import argparse
import collections
import pathlib
import random
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # tests/

from faults import everything, small_disk
from faults.oracle import Figures, Oracle
from faults.stage import Stage

_RATES = (500, 1000, 2000)
_BLACK_HOLE_S = 30.0


def steps(seed):
    """Without end: (fault, seconds it holds, messages a second), the same for the same seed."""
    draw = random.Random(seed)
    names = list(everything.REGISTRY)
    while True:
        name, hold_s, rate = draw.choice(names), round(draw.uniform(0.5, 6.0), 1), draw.choice(_RATES)
        yield name, _BLACK_HOLE_S if "black hole" in name else hold_s, rate


class Tally:
    """What happened so far."""

    def __init__(self):
        self.injected = collections.Counter()
        self.not_possible = {}
        self.figures = Figures()
        self.miscounted = 0
        self.started = time.monotonic()

    def line(self):
        figures = self.figures
        return (
            f"{figures.readings} readings, {figures.dead_letters} dead letters, "
            f"{figures.lost} lost, {figures.doubled} doubled, {figures.strangers} strangers"
        )

    def show(self):
        minutes = (time.monotonic() - self.started) / 60
        print(f"\n{sum(self.injected.values())} faults in {minutes:.1f} minutes: {self.line()}")
        print(f"  {self.figures.broker_lost} lost by a broker without persistence, before voltd had them")
        print(f"  {self.miscounted} times the counters disagreed with the tables")
        for name, count in sorted(self.injected.items()):
            print(f"  {count:5} x {name}")
        for name, why in self.not_possible.items():
            print(f"      - {name}: not possible here ({why})")


def step(stage, oracle, tally, chosen):
    """One fault and its judgement; None where this machine cannot do it."""
    name, hold_s, oracle.publisher.rate = chosen
    oracle.publisher.go()
    try:
        everything.REGISTRY[name].inject(stage, oracle, hold_s)
    except small_disk.NotPossible as problem:
        tally.not_possible[name] = str(problem)
    else:
        tally.injected[name] += 1
    figures = oracle.check(180)
    if figures.miscounted:
        tally.miscounted += 1
        print(f"       counters: {figures.miscounted}", flush=True)
        figures.miscounted = ""
    tally.figures.add(figures)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--step", type=int, default=None, help="only this step of the seed's run")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    print(f"seed {seed}, {args.minutes:g} minutes, {len(everything.REGISTRY)} kinds of faults", flush=True)
    tally = Tally()
    stage = Stage(progress=print)
    try:
        oracle = Oracle(stage.start())
        return _loop(stage, oracle, tally, seed, args)
    except KeyboardInterrupt:
        return 130
    finally:
        tally.show()
        stage.close()


def _loop(stage, oracle, tally, seed, args):
    ends = time.monotonic() + 60 * args.minutes
    for number, chosen in enumerate(steps(seed), 1):
        if args.step is not None and number < args.step:
            continue
        name, hold_s, rate = chosen
        print(f"{number:5}  {name} ({hold_s:g} s, {rate}/s)", flush=True)
        try:
            figures = step(stage, oracle, tally, chosen)
        except AssertionError:
            traceback.print_exc()
            print(stage.daemon.log()[-4000:])
            figures = None
        print(f"       {tally.line()}", flush=True)
        if figures is None or not figures.faultless:
            print(f"FAILED in step {number}, {name}: {figures}")
            print(f"again: make torture SEED={seed} MINUTES={args.minutes:g}, or this step alone: STEP={number}")
            return 1
        if args.step is not None or time.monotonic() > ends:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
