"""Messages of device families, decoded as a daemon with these settings would."""

from __future__ import annotations

import datetime as dt
from typing import Any

from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families

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
