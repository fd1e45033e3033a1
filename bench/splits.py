"""The scene ``split``: readings that come in two messages each, against whole ones, in messages a second."""

from __future__ import annotations

import datetime as dt
import json

import load
import scenes
from rig import Rig


def split(rig: Rig, count: int) -> dict[str, float]:
    """As many messages whole, as halves one after the other, and as all first halves before all second ones."""
    rates = {}
    for name, made in (
        ("whole", load.packets(count, scenes.start(20), scenes.STEP)),
        ("adjacent", _adjacent(count, scenes.start(12))),
        ("apart", _apart(count, scenes.start(6))),
    ):
        rig.empty()
        daemon = rig.daemon(mqtt__receive_maximum=65535)
        daemon.subscribe()
        scenes.publish(rig, made)
        rates[name] = scenes.drain(daemon, count)
        scenes.verify(rig, count if name == "whole" else count // 2)
        scenes.verify(rig, 0, "dead_letter")
    return {
        "value": rates["adjacent"],
        "reference": rates["whole"],
        "ratio": rates["adjacent"] / rates["whole"],
        "apart_ratio": rates["apart"] / rates["whole"],
    }


def _adjacent(count: int, start: dt.datetime) -> list[bytes]:
    return _packets([half for halves in _halves(count, start) for half in halves])


def _apart(count: int, start: dt.datetime) -> list[bytes]:
    firsts, seconds = zip(*_halves(count, start), strict=True)
    return _packets([*firsts, *seconds])


def _packets(messages: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [load.packet(topic, body, number % 65535 + 1) for number, (topic, body) in enumerate(messages)]


def _halves(count: int, start: dt.datetime) -> list[tuple[tuple[bytes, bytes], tuple[bytes, bytes]]]:
    """Topic and payload of both halves of each reading: id and time, and every other field."""
    made = []
    for is_vehicle, device, payload in load.readings(count // 2, start, scenes.STEP):
        topic = f"volt/{'vehicle' if is_vehicle else 'meter'}/{device}/telemetry".encode()
        fields = list(json.loads(payload).items())
        first, second = (json.dumps(dict(fields[:2] + fields[2 + at :: 2])).encode() for at in (0, 1))
        made.append(((topic, first), (topic, second)))
    return made
