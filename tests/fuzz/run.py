"""Fuzzes the data path from bytes to rows on a real, private database: ``make fuzz INPUTS=1000000 SEED=7``.

Ends with exit code 1 at the first input without exactly one fate, at an exception, a stall, or a row that differs from
what was counted, and names the seed and batch that repeat it.
"""

import argparse
import datetime as dt
import pathlib
import random
import secrets
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # tests/

from fuzz import inputs, one_fate
from support import homes
from voltd import local
from voltd.database import migrate

_CHECK_EVERY = 50  # batches


def main():
    asked = _arguments()
    home = homes.new("fuzz")
    servers = local.start(home, progress=_say)
    try:
        migrate.migrate(servers.database.dsn, migrate.MigrateOptions(), report=lambda _line: None)
        return _fuzz(asked, one_fate.Rig(servers.database.dsn, asked.at, asked.bound))
    finally:
        servers.stop()


def _fuzz(asked, rig):
    started = shown = time.monotonic()
    batches = -(-asked.inputs // asked.batch)
    number = asked.first
    try:
        for number in range(asked.first, asked.first + batches):
            seed = f"{asked.seed}:{number}"
            sources = inputs.Generator(seed, asked.at).messages(min(asked.batch, asked.inputs - rig.inputs))
            rig.run(random.Random(f"{seed}:rig"), sources)
            if number % _CHECK_EVERY == _CHECK_EVERY - 1:
                rig.check_rows(empty_dead_letters=True)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                _say(
                    f"{rig.inputs:>10,} inputs, {rig.inputs / (shown - started):,.0f}/s, slowest {rig.slowest_s:.2f} s"
                )
        rig.check_rows()
        rig.check_current()
    except Exception as defect:  # noqa: BLE001 the run's own result, whatever it is
        _say(f"\nFAILED in batch {number}: {type(defect).__name__}: {defect}")
        _say(
            f"repeat: python tests/fuzz/run.py --seed {asked.seed} --first {number} --inputs {asked.batch} "
            f"--batch {asked.batch} --at {asked.at.isoformat()}"
        )
        return 1
    finally:
        rig.close()
    seconds = time.monotonic() - started
    _say(rig.tally())
    _say(
        f"seed {asked.seed}: {rig.inputs:,} inputs with {rig.elements:,} readings and elements in {seconds:,.0f} s "
        f"({rig.inputs / seconds:,.0f}/s), {rig.batches:,} batches, slowest {rig.slowest_s:.2f} s; "
        "every one has exactly one fate, no crash, no stall"
    )
    return 0


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="messages in all (default: %(default)s)")
    parser.add_argument("--seed", default=str(secrets.randbelow(1_000_000)), help="default: a new one")
    parser.add_argument("--batch", type=int, default=1000, help="messages a batch (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch, to repeat a failure")
    parser.add_argument("--bound", type=float, default=15.0, help="seconds a batch may take (default: %(default)s)")
    parser.add_argument("--at", type=_time, default=one_fate.now(), help="time of arrival; default: now")
    return parser.parse_args()


def _time(text):
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def _say(line):
    print(line, flush=True)  # noqa: T201 a script that reports


if __name__ == "__main__":
    sys.exit(main())
