"""What it costs to read one message of Sparkplug B with five metrics, in CPU microseconds; needs ``voltd[sparkplug]``.

Exit code 1 where hearing and reading a message with aliases costs over 10 us.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
import timeit
from collections.abc import Callable

from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families
from voltd.pipeline.decode.devices.sparkplug import payload

_WANTED_US = 10.0
_RUNS, _TIMES, _EACH = 100, 500, 100
_NAMES = (b"Wh_received", b"Wh_delivered", b"Watts_total", b"Volts", b"Amps")


def main() -> int:
    """Prints a line each."""
    now = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
    settings = config.Settings(devices={"sparkplug": config.DeviceFamily()})
    found = families.of(settings, ask=lambda _topic, _payload: None)
    stream = decoder.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days, others=found)

    def message(topic: str, *, names: bool, aliases: bool) -> models.Message:
        made = payload.Payload(timestamp=int(now.timestamp() * 1000))
        for alias, name in enumerate(_NAMES):
            metric = made.metrics.add(timestamp=made.timestamp, datatype=10, double_value=230.5)
            if names:
                metric.name = name
            if aliases:
                metric.alias = alias + 1
        return models.Message(f"spBv1.0/g/{topic}", made.SerializeToString(), 1, now)

    stream.decode([message("NBIRTH/n", names=True, aliases=False), message("DBIRTH/n/d", names=True, aliases=True)])
    # Two of each in turns: the parser returns at once what it has just parsed.
    named, aliased = ([message("DDATA/n/d", names=one, aliases=not one) for _ in range(2)] for one in (True, False))
    route = found.find(named[0].topic)
    if route is None or route.listener is None:
        raise AssertionError("nobody hears it")
    reader, listener = route.reader, route.listener

    def read(one: models.Message) -> bool:
        heard = listener.hear(one)
        if not isinstance(heard, models.Message) or not reader.read(heard, "d"):
            raise AssertionError("nothing is read of it")
        return True

    def both(some: list[models.Message]) -> Callable[[], object]:
        return lambda: [read(one) for one in some]

    wanted_us = _us(both(aliased), 2)
    print(f"{'five metrics with aliases, heard and read':<48}{wanted_us:6.2f}  wanted {_WANTED_US}")
    print(f"{'five metrics with names, heard and read':<48}{_us(both(named), 2):6.2f}")
    for label, some in (("aliases", aliased), ("names", named)):
        many = some * (_EACH // 2)
        print(f"{f'with {label}, until it is in the batch':<48}{_us(lambda: stream.decode(many), _EACH):6.2f}")  # noqa: B023
    return 0 if wanted_us <= _WANTED_US else 1


def _us(run: Callable[[], object], each: int = 1) -> float:
    """CPU time of one message; the best of many short runs, as others use the machine, too."""
    number = _RUNS // each
    return min(timeit.repeat(run, number=number, repeat=_TIMES, timer=time.thread_time)) / number / each * 1e6


if __name__ == "__main__":
    sys.exit(main())
