"""Messages of device families, decoded as a daemon with these settings would."""

from __future__ import annotations

import datetime as dt
import functools
import pathlib
from typing import Any

from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import catalogue, families

NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)


def settings(directory: Any = "/nonexistent", limits: dict[str, Any] | None = None, **devices: Any) -> config.Settings:
    """Settings with these families."""
    return config.Settings(
        devices={name: config.DeviceFamily(**values) for name, values in devices.items()},
        devices_directory=directory,
        limits=config.Limits(**(limits or {})),
    )


def decoder_of(given: config.Settings) -> decoder.Decoder:
    """The decoder of a daemon."""
    return decoder.Decoder(given.mqtt.topics, given.limits, given.max_age_days, given.timestamps, families.of(given))


@functools.cache
def shipped() -> list[str]:
    """The families that voltd describes."""
    return sorted(catalogue.described(pathlib.Path("/nonexistent")))


def message(topic: str, payload: str | bytes, after_s: float = 0.0, **more: Any) -> models.Message:
    """As it arrives at NOW."""
    content = payload.encode() if isinstance(payload, str) else payload
    at = NOW + dt.timedelta(seconds=after_s)
    return models.Message(topic, content, more.pop("packet_id", 1), at, **more)


def decode(given: config.Settings, *messages: models.Message) -> models.Batch:
    """All of them, as if nothing else came."""
    return decoder_of(given).decode(list(messages))


def values(reading: models.Reading) -> dict[str, Any]:
    """The columns that are not empty, without the time of receipt."""
    return {name: value for name, value in reading._asdict().items() if value is not None and name != "received_at"}


def decoded(
    family: str,
    *sent: tuple[str, str],
    received_at: dt.datetime,
    retained: bool = False,
    **devices: Any,
) -> models.Batch:
    """Topics and payloads of one family, with its settings, that arrive at once."""
    messages = [
        models.Message(topic, payload.encode(), 1, received_at, size=len(payload), retained=retained)
        for topic, payload in sent
    ]
    return decode(settings(**{family: devices}), *messages)


def meters(batch: models.Batch) -> list[dict[str, Any]]:
    """The readings of meters, see ``values``; nothing is refused."""
    assert batch.dead_letters == []
    return [values(one) for one in batch.meters]
