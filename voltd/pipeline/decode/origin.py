"""The origin of a payload: the device type of an envelope, and the device's id by payload and topic.

``decode`` asks for every payload that is not taken the fast way. Pure.
"""

from __future__ import annotations

from typing import Any

from voltd import hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields

_ENVELOPE_TYPES = {"VEHICLE": models.DeviceType.VEHICLE, "METER": models.DeviceType.METER}


def open_envelope(envelope: Any) -> tuple[models.DeviceType, Any]:
    """``{"type": "VEHICLE" | "METER", "payload": {...}}`` into its device type and the payload.

    Raises:
        Invalid: it is no envelope.
    """
    if envelope.__class__ is not dict:
        detail = f"an envelope is an object with type and payload, not {hints.shown(envelope)}"
        raise fields.Invalid(Reason.NOT_AN_OBJECT, detail)
    for name in ("type", "payload"):
        if name not in envelope:
            detail = f"{name}: an envelope is an object with type and payload"
            raise fields.Invalid(Reason.MISSING_FIELD, detail, name)
    written = envelope["type"]
    device_type = _ENVELOPE_TYPES.get(written) if isinstance(written, str) else None
    if device_type is None:
        detail = f"type: should be VEHICLE or METER, not {hints.shown(written)}"
        raise fields.Invalid(Reason.UNKNOWN_TYPE, detail, "type")
    return device_type, envelope["payload"]


def device_id(written: Any, in_topic: str | None, field: str) -> str:
    """The device's id; a device speaks only for itself.

    Args:
        written: what the payload has as its id, or None.
        in_topic: the id that the topic carries; None: it carries none.
        field: the id's name on the wire.

    Raises:
        Invalid: there is none, it is no id, or it is another device's.
    """
    if written is not None:
        if written.__class__ is not str:
            raise fields.Invalid(Reason.WRONG_TYPE, f"{field}: a text belongs here, not {hints.shown(written)}", field)
        if not 1 <= len(written) <= readings.ID_LENGTH:
            detail = f"{field}: it has {len(written)} characters, 1 to {readings.ID_LENGTH} are allowed"
            raise fields.Invalid(Reason.BAD_TEXT, detail, field)
        if "\0" in written:
            raise fields.Invalid(
                Reason.BAD_TEXT, f"{field}: a NUL character (\\u0000), which PostgreSQL cannot hold", field
            )
    if in_topic is None:
        if written is None:
            raise fields.Invalid(Reason.MISSING_FIELD, f"{field}: needed where the topic carries no device id", field)
        return str(written)
    if written is not None and written != in_topic:
        shown = hints.shown(written)
        raise fields.Invalid(Reason.ID_MISMATCH, f"{field}: {shown} was sent on the topic of {in_topic!r:.70}", field)
    if not 1 <= len(in_topic) <= readings.ID_LENGTH:
        raise fields.Invalid(
            Reason.BAD_TEXT, f"the topic's device id has {len(in_topic)} characters, 1 to 64 are allowed"
        )
    return in_topic
