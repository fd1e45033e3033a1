"""What it costs to read one message of Sparkplug B with five metrics, in CPU microseconds; needs ``voltd[sparkplug]``.

Exit code 1 where hearing and reading a message costs over 10 us, with names or with aliases. What is written like an
earlier message of its device is read by its layout; times of several moments take the thorough way.
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
_NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
_RUNS, _TIMES, _EACH = 100, 500, 100
_NAMES = (b"Wh_received", b"Wh_delivered", b"Watts_total", b"Volts", b"Amps")


def main() -> int:
    """Prints a line each."""
    settings = config.Settings(devices={"sparkplug": config.DeviceFamily()})
    enabled = families.of(settings, ask=lambda _topic, _payload: None)
    stream = decoder.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days, others=enabled)

    births = [("NBIRTH/n", 0), ("DBIRTH/n/d", 1)]
    stream.decode([_message(topic, names=True, aliases=topic[0] == "D", seq=seq) for topic, seq in births])
    # Two of each in turns: no one is the message that was read just before.
    named, aliased = (
        [_message("DDATA/n/d", names=one, aliases=not one, value=value) for value in (230.5, 231.5)]
        for one in (True, False)
    )
    several = [_message("DDATA/n/d", names=False, aliases=True, value=value, moments=1) for value in (230.5, 231.5)]
    route = enabled.find(named[0].topic)
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

    found = {label: _us(both(some), 2) for label, some in (("aliases", aliased), ("names", named))}
    for label, us in found.items():
        print(f"{f'five metrics with {label}, heard and read':<48}{us:6.2f}  wanted {_WANTED_US}")
    print(f"{'with aliases, of five moments, heard and read':<48}{_us(both(several), 2):6.2f}")
    for label, some in (("aliases", aliased), ("names", named)):
        many = some * (_EACH // 2)
        print(f"{f'with {label}, until it is in the batch':<48}{_us(lambda: stream.decode(many), _EACH):6.2f}")  # noqa: B023
    return 0 if max(found.values()) <= _WANTED_US else 1


def _message(
    topic: str, *, names: bool, aliases: bool, seq: int = 2, value: float = 230.5, moments: int = 0
) -> models.Message:
    made = payload.Payload(timestamp=int(_NOW.timestamp() * 1000), seq=seq)
    for alias, name in enumerate(_NAMES):
        at = made.timestamp - moments * alias
        metric = made.metrics.add(timestamp=at, datatype=10, double_value=value)
        if names:
            metric.name = name
        if aliases:
            metric.alias = alias + 1
    return models.Message(f"spBv1.0/g/{topic}", made.SerializeToString(), 1, _NOW)


def _us(run: Callable[[], object], each: int = 1) -> float:
    """CPU time of one message; the best of many short runs, as others use the machine, too."""
    number = _RUNS // each
    return min(timeit.repeat(run, number=number, repeat=_TIMES, timer=time.thread_time)) / number / each * 1e6


if __name__ == "__main__":
    sys.exit(main())
