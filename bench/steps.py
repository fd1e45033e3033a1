"""The microseconds of a message in each step, measured separately, to find what to improve."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from typing import Any

import load
import scenes
from rig import Rig

from voltd import config, models
from voltd.daemon import app
from voltd.database import connections
from voltd.pipeline.consume import stream
from voltd.pipeline.consume.window import Window
from voltd.pipeline.current import newest
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.write import store as write


def profile(rig: Rig, count: int) -> dict[str, float]:
    """Microseconds a message takes in each step of the data path, one step after the other in this process."""
    rig.empty()
    app.tune_interpreter()
    settings = config.Settings(database={"dsn": rig.dsn})
    data = b"".join(load.packets(count, scenes.start(), scenes.STEP))
    reader, window = stream.PublishStream(1), Window(1 << 30)
    decoder = decode.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days)
    store = write.PostgresStore(connections.connector(settings), "bench")
    spent = dict.fromkeys(("read", "take", "decode", "write", "fold", "ack"), 0.0)

    def timed(step: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        spent[step] += time.perf_counter() - began
        return result

    now = dt.datetime.now(dt.UTC)
    places = newest.places(models.DeviceType.VEHICLE)
    for start in range(0, len(data), 1 << 18):
        piece = data[start : start + (1 << 18)]
        timed("read", lambda: _put(window, reader.feed(piece, now)))  # noqa: B023
    done = 0
    while done < count:
        messages = timed("take", lambda: window.take(10_000, 8 << 20, 0.0, 0.0))
        batch = timed("decode", lambda: decoder.decode(messages))  # noqa: B023
        timed("write", lambda: store.write(batch))  # noqa: B023
        segments = [newest.Segment(batch.vehicles, live=True)]
        timed("fold", lambda: newest.states(segments, places))  # noqa: B023
        timed("ack", lambda: stream.pubacks([message.packet_id for message in messages]))  # noqa: B023
        done += len(messages)
    store.close()
    scenes.verify(rig, count)
    return {f"{step}_us": 1e6 * seconds / count for step, seconds in spent.items()}


def _put(window: Window, pieces: Iterable[list[models.Message] | bytes]) -> None:
    for piece in pieces:
        if isinstance(piece, list):
            window.put_many(piece)
