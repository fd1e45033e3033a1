"""What ``decode`` refuses: the dead letter of it, and of what is no JSON. Pure."""

from __future__ import annotations

from typing import Any

import structlog

from voltd import models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame

_log = structlog.get_logger()


def refused(
    message: models.Message,
    payload: bytes,
    invalid: fields.Invalid,
    device: tuple[models.DeviceType | None, str | None],
    element: int | None = None,
) -> models.DeadLetter:
    """Of a message, or of one element of its array.

    ``device`` is whose it is by the topic, where the payload names no other.
    """
    device_type, device_id = device if invalid.device[0] is None else invalid.device
    if device_id is not None and not 1 <= len(device_id) <= readings.ID_LENGTH:
        device_id = None
    reason, detail, field = invalid.refusal
    return models.DeadLetter(message, payload, reason, detail, element, field, device_type, device_id)


def parsed(text: bytes, payload: bytes | None = None) -> Any:
    """The value of a JSON text.

    Args:
        text: without what stands around it.
        payload: as published, which the refusal explains; None: the text.

    Raises:
        fields.Invalid: it is no JSON.
    """
    try:
        return frame.parse(text)
    except ValueError as error:
        shown = text if payload is None else payload
        raise fields.Invalid(Reason.NOT_JSON, frame.explain(shown, error)) from None


def defect(message: models.Message, error: Exception) -> models.DeadLetter:
    """A defect of ours must not become a crash loop over one message: it is kept where people look."""
    _log.exception("message.decode_failed", topic=message.topic)
    detail = f"voltd could not decode it ({type(error).__name__}): please report this"
    return models.DeadLetter(message, message.payload, Reason.NOT_JSON, detail)
