"""The nouns of the flow: what arrived, what was measured, what is written together, what came of it.

Plain containers without behaviour beyond their own consistency; no I/O, no clock. The readings themselves are declared
in ``readings``; payloads are validated in ``pipeline.decode``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Collection
from typing import NamedTuple

from voltd.readings import DeviceType, MeterReading, Reading, VehicleReading

__all__ = [
    "Batch",
    "DeadLetter",
    "DeviceType",
    "Message",
    "MeterReading",
    "Reading",
    "Reason",
    "SignOfLife",
    "Source",
    "Spooling",
    "VehicleReading",
    "WriteResult",
]

_MOST_UNKNOWN_NAMES = 1000


class Reason(enum.StrEnum):
    """Why a message or an array element is a dead letter. Bounded: safe as a metric label."""

    NOT_JSON = "not_json"  # not UTF-8, not JSON, compressed, nested too deeply, a lone surrogate
    NOT_PROTOBUF = "not_protobuf"  # no payload of Sparkplug B, or a compressed one
    NOT_AN_OBJECT = "not_an_object"  # JSON, but no object where a reading belongs
    MISSING_FIELD = "missing_field"  # no id and none in the topic, or no time
    WRONG_TYPE = "wrong_type"  # a text where a number belongs and the like
    OUT_OF_RANGE = "out_of_range"  # outside the field's range, NaN, Infinity
    BAD_TIME = "bad_time"  # neither RFC 3339 nor epoch, or without offset where no zone is set
    TOO_OLD = "too_old"  # older than limits.max_age_days
    IN_FUTURE = "in_future"  # further ahead than limits.max_future_s
    NO_BIRTH = "no_birth"  # a metric of Sparkplug B without a name, or with a type, that only a birth could tell
    NO_MEASUREMENT = "no_measurement"  # id and time only: none of the fields that voltd knows
    BAD_TEXT = "bad_text"  # a NUL that PostgreSQL cannot hold, an empty id, an id or text too long
    ID_MISMATCH = "id_mismatch"  # speaks for another device than its topic says
    TOO_LARGE = "too_large"  # payload over limits.max_payload_bytes
    TOO_MANY = "too_many"  # array over limits.max_array_readings
    UNKNOWN_TOPIC = "unknown_topic"  # a topic that no filter of the settings accounts for
    UNKNOWN_TYPE = "unknown_type"  # an envelope whose type is neither VEHICLE nor METER
    CONFLICT = "conflict"  # another value for a field that is stored already; the first one stands
    REJECTED = "rejected_by_database"  # valid to us, refused by a constraint or limit of the database


class Spooling(NamedTuple):
    """When a message went into the spool, and which run of the daemon put it there.

    Attributes:
        at: aware UTC. Its ack was sent later, so until then its packet id was its own.
        run: as ``identity.run_number``.
    """

    at: dt.datetime
    run: int


class Message(NamedTuple):
    """What arrived from the broker, raw.

    Attributes:
        topic: as published, decoded UTF-8.
        payload: as published, whole; of Sparkplug B with the names of its metrics put in, once it was heard.
        packet_id: MQTT packet identifier, 0 for QoS 0.
        received_at: aware UTC.
        qos: 0, 1 or 2.
        retained: the broker's retain flag: history, not news.
        redelivered: the DUP flag: it may have been stored before.
        connection: which connection delivered it; an ack on any other one is void. 0: none of this run's, no ack of
            it is awaited.
        size: bytes of the payload as published.
        spooling: of a message from the spool; None: it was in no spool, or an earlier version put it there.
    """

    topic: str
    payload: bytes
    packet_id: int
    received_at: dt.datetime
    qos: int = 1
    retained: bool = False
    redelivered: bool = False
    connection: int = 0
    size: int = 0
    spooling: Spooling | None = None


Source = tuple[int, int | None]


class DeadLetter(NamedTuple):
    """What can never be stored, and why.

    Attributes:
        message: the message it came in (or whose element it is).
        payload: the message's payload, or the one array element as JSON.
        reason: from the bounded list.
        detail: one line for a person: field, value, limit.
        element: index in the array, None where the whole message is meant.
        field: the field to blame, by its name on the wire; None: not one field's fault.
        device_type, device_id: whose it is; None: not known.
        partial: only ``field`` is refused; the rest of the message (or element) was taken, or has letters like it.
        nothing_left: it is partial, and nothing of the message (or element) was taken.
    """

    message: Message
    payload: bytes
    reason: Reason
    detail: str
    element: int | None = None
    field: str | None = None
    device_type: DeviceType | None = None
    device_id: str | None = None
    partial: bool = False
    nothing_left: bool = False


class SignOfLife(NamedTuple):
    """A device that was heard without a measurement: the fields it sent are null, or stand for no value."""

    device_type: DeviceType
    device_id: str
    received_at: dt.datetime


class SharedId(NamedTuple):
    """Two devices of other topics measure under one id, so that their readings are mixed; one topic of each."""

    device_type: DeviceType
    device_id: str
    topics: tuple[str, str]


@dataclasses.dataclass(slots=True)
class Batch:
    """Messages that are written in one transaction and acked together.

    ``vehicles[i]`` came from ``vehicle_sources[i]``: index in ``messages`` and index in that message's array, or None
    where the message is the reading; likewise meters. Every message has at least one reading, dead letter or sign of
    life, or a value in a gathered reading; a reading may have partial dead letters beside it, one for each field that
    was left out, or them alone where all were.

    Attributes:
        shared_ids: ids under which two devices measure, each once.
        gathered: of readings that were gathered from several messages: by index of the first one, how many follow
            each other.
    """

    messages: list[Message]
    vehicles: list[VehicleReading] = dataclasses.field(default_factory=list)
    meters: list[MeterReading] = dataclasses.field(default_factory=list)
    vehicle_sources: list[Source] = dataclasses.field(default_factory=list)
    meter_sources: list[Source] = dataclasses.field(default_factory=list)
    dead_letters: list[DeadLetter] = dataclasses.field(default_factory=list)
    alive: list[SignOfLife] = dataclasses.field(default_factory=list)  # not of retained messages
    alive_sources: list[Source] = dataclasses.field(default_factory=list)  # of what measured nothing, retained ones too
    passed_over: int = 0  # of these, how many say nothing of now: retained ones, and words of a device that is gone
    ignored_fields: int = 0  # values that stand for none: ``limits.ignore``, a position of 0, 0
    unknown_fields: int = 0
    unknown_names: dict[tuple[DeviceType, str], int] = dataclasses.field(default_factory=dict)
    retained: bool = False  # whether any message carried the retain flag
    gathered: dict[int, int] = dataclasses.field(default_factory=dict)
    shared_ids: list[SharedId] = dataclasses.field(default_factory=list)

    @property
    def readings(self) -> int:
        """How many readings would be stored if none is a duplicate."""
        return len(self.vehicles) + len(self.meters)

    @property
    def signs_of_life(self) -> int:
        """How many messages or elements measured nothing and say that their device is there."""
        return len(self.alive_sources) - self.passed_over

    def note_unknown(self, device_type: DeviceType, names: Collection[str]) -> None:
        """Counts fields that no reading of this type has, each by its name while there are not too many."""
        self.unknown_fields += len(names)
        known = self.unknown_names
        for name in names:
            key = (device_type, name)
            if key in known or len(known) < _MOST_UNKNOWN_NAMES:
                known[key] = known.get(key, 0) + 1


@dataclasses.dataclass(slots=True)
class WriteResult:
    """What a committed batch came to.

    Every reading of it is one of these: written (a new row), filled (it added values to a row), a duplicate (all its
    values were there), conflicting (it added nothing, and another value was there), or refused by the database. Of a
    conflicting or refused one there is a dead letter; so there is of one that added something and contradicts in
    something else.

    Attributes:
        corrected: readings whose values were put in instead of stored ones, for the owner who asked for it.
        effective: by ``id`` of a reading, what of it is stored: without values that contradict.
    """

    vehicles_written: int = 0
    meters_written: int = 0
    filled: int = 0
    conflicting: int = 0
    corrected: int = 0
    duplicates: int = 0
    dead_letters: list[DeadLetter] = dataclasses.field(default_factory=list)
    dead_letters_there: list[DeadLetter] = dataclasses.field(
        default_factory=list
    )  # of these, left by an earlier delivery
    refused: list[Reading] = dataclasses.field(default_factory=list)  # dead letters that only the database found
    effective: dict[int, Reading] = dataclasses.field(default_factory=dict)
    staged: bool = False
    # Of batches that were given up before their COMMIT turned out to have succeeded.
    earlier: list[WriteResult] = dataclasses.field(default_factory=list)
