"""OCPP MeterValues in JSON, as gateways publish them: 1.6 and 2.0.1, in camelCase or snake_case, whole or in a frame.

Accepted are a request's body, ``{"Action": ..., "Payload": body}``, and an OCPP-J frame ``[2, id, action, body]``. Each
connector is a meter. ``ocpp_samples`` chooses among the sampled values. Facts: see ``shipped/ocpp.toml``.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any

from voltd import config, hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame, letters, timestamp
from voltd.pipeline.decode.devices import description, ocpp_samples, parts, taken
from voltd.readings import DeviceType

_CALL = 2
_LONGEST = 1 << 18  # bytes of a request that is completed
_MOST = 100_000  # stations and transactions known; invented ids must not fill the memory
_MOST_PERSISTED = 20_000  # transactions over a restart
_LONGEST_STATION = 256  # characters
_METER = DeviceType.METER
_VALUES = ("meterValue", "transactionData")


class OcppReader:
    """Reads the requests of charging stations.

    Each connector is a meter, connector 0 is the station itself (``parts``); of 2.0.1 the EVSE counts. Its state is
    which connector a transaction runs on, as only some of a transaction's messages say so, and which connectors a
    station has, as a heartbeat is a sign of life of all. Messages of the stream get the connector written in when they
    are heard, so that the spool and dead letters need no state.
    """

    def __init__(
        self,
        _special: description.Special,
        _device_type: DeviceType,
        limits: config.Limits,
        zone: zoneinfo.ZoneInfo | None,
    ) -> None:
        self._fields = fields.FieldReader(_METER, limits)
        self._clock = timestamp.TimestampReader(epoch=False, as_text=False)
        self._zone = zone
        self._nothing: list[Any] = [None] * len(readings.fields(_METER))
        self._transactions: dict[tuple[str, Any], int] = {}
        self._connectors: dict[str, set[int]] = {}
        self._connectors_known = 0

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        _, body = _opened(message.payload)
        connector = self._connector(device_id, body)
        entries = next((found for name in _VALUES if (found := ocpp_samples.get(body, name)) is not None), None)
        if entries is None or (connector is None and ocpp_samples.get(body, "meterValue") is None):
            return self._alive(device_id, connector)
        if connector is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "connectorId or evseId: the values may be of any connector")
        if entries.__class__ is not list or any(one.__class__ is not dict for one in entries):
            raise fields.Invalid(Reason.WRONG_TYPE, f"meterValue: objects belong here, not {hints.shown(entries)}")
        by_time: dict[dt.datetime | None, list[Any]] = {}
        for entry in entries:
            sampled = ocpp_samples.get(entry, "sampledValue")
            by_time.setdefault(self._time(entry, message.received_at), []).extend(
                sampled if sampled.__class__ is list else []
            )
        meter_id = parts.part_id(device_id, connector)
        found = [self._reading(meter_id, at, samples) for at, samples in by_time.items()]
        return [one for one in found if one.bad or one.columns != self._nothing] or self._alive(device_id, connector)

    def listener(self, station: str | None) -> taken.Listener:
        """Who hears the messages of a station before they are read."""
        return _Listener(self, station)

    def completed(self, message: models.Message, station: str) -> models.Message:
        """The message with the connector of its transaction, where an earlier one has named it."""
        payload = message.payload
        if b"ransaction" not in payload or len(payload) > _LONGEST:
            return message
        try:
            value, body = _opened(payload)
            named = self._named(body) is not None
            connector = self._connector(station, body)
            if named or connector is None or not isinstance(body, dict):
                return message
            body["connectorId"] = connector
            return message._replace(payload=frame.text(value))
        except (fields.Invalid, OverflowError, RecursionError):  # the reader says what is wrong with it
            return message

    def remember(self, *, values: bool) -> list[Any]:  # noqa: ARG002 a connector stays true
        """See ``families.Families.remember``."""
        known = list(self._transactions.items())[-_MOST_PERSISTED:]
        return [[station, transaction, connector] for (station, transaction), connector in known]

    def recall(self, persisted: list[Any]) -> None:
        """See ``families.Families.recall``."""
        for station, transaction, connector in persisted[-_MOST_PERSISTED:]:
            self._transactions[station, transaction] = connector

    def _reading(self, meter_id: str, at: dt.datetime | None, samples: Sequence[Any]) -> taken.Taken:
        chosen = ocpp_samples.choose(samples)
        read = self._fields.read(chosen.values, None)
        return taken.Taken(_METER, meter_id, at, read.columns, [*chosen.bad, *read.bad], read.ignored + chosen.ignored)

    def _connector(self, station: str, body: Mapping[str, Any]) -> int | None:
        """The connector that the body names, or that its transaction is known to run on."""
        written = self._named(body)
        info = ocpp_samples.get(body, "transactionInfo")
        transaction = ocpp_samples.get(info if info.__class__ is dict else body, "transactionId")
        if transaction.__class__ is str:
            transaction = transaction if len(transaction) <= readings.ID_LENGTH else None
        elif transaction.__class__ is not int or not -(2**63) < transaction < 2**63:
            transaction = None
        if written is None:
            return self._transactions.get((station, transaction))
        if written.__class__ is str and written.isascii() and written.isdigit() and len(written) <= 4:  # noqa: PLR2004
            written = int(written)
        if written.__class__ is not int or not 0 <= written <= 9999:  # noqa: PLR2004
            raise fields.Invalid(Reason.WRONG_TYPE, f"connectorId: a small number belongs here: {hints.shown(written)}")
        if len(station) > _LONGEST_STATION:
            return int(written)
        if transaction is not None:
            _make_room(self._transactions)
            self._transactions.pop((station, transaction), None)  # the last ones are persisted
            self._transactions[station, transaction] = written
        if written:
            self._note_connector(station, written)
        return int(written)

    def _note_connector(self, station: str, connector: int) -> None:
        known = self._connectors.get(station, set())
        if connector in known or len(known) >= readings.ID_LENGTH:
            return
        self._connectors_known += 1
        if self._connectors_known > _MOST:
            self._connectors.clear()
            self._connectors_known = 1
        self._connectors.setdefault(station, set()).add(connector)

    @staticmethod
    def _named(body: Mapping[str, Any]) -> Any:
        evse = body.get("evse")
        evse_id = evse.get("id") if evse.__class__ is dict else None
        named = (ocpp_samples.get(body, "connectorId"), ocpp_samples.get(body, "evseId"), evse_id)
        return next((one for one in named if one is not None), None)

    def _alive(self, station: str, connector: int | None) -> list[taken.Taken]:
        """A sign of life of a connector, or of the station with all that are known."""
        every = [connector] if connector else [0, *sorted(self._connectors.get(station, ()))]
        return [taken.Taken(_METER, parts.part_id(station, one), None, self._nothing) for one in every]

    def _time(self, entry: Mapping[str, Any], received_at: dt.datetime) -> dt.datetime | None:
        """When it was; None: it does not say, or in the time of a zone that nobody has named."""
        written = ocpp_samples.get(entry, "timestamp")
        if written is None or (self._zone is None and written.__class__ is str and timestamp.is_local(written)):
            return None
        return self._clock.read("timestamp", written, self._zone, received_at)


class _Listener:
    def __init__(self, reader: OcppReader, station: str | None) -> None:
        self._reader, self._station = reader, station

    def hear(self, message: models.Message) -> models.Message:
        """See ``taken.Listener``."""
        return message if self._station is None else self._reader.completed(message, self._station)

    def again(self, _message: models.Message) -> models.Message | None:
        """See ``taken.Listener``: none waits."""
        return None


def _opened(payload: bytes) -> tuple[Any, Mapping[str, Any]]:
    """The value of a payload, and in it the body of a request; empty where there is none in it.

    Raises:
        fields.Invalid: it is neither request nor frame.
    """
    value = letters.parsed(frame.bare(payload), payload)
    if value.__class__ is list and value and value[0].__class__ is int:
        body = value[3] if value[0] == _CALL and len(value) > 3 else {}  # noqa: PLR2004
    elif value.__class__ is dict:
        body = next((value[name] for name in ("Payload", "payload") if name in value), value)
    else:
        raise fields.Invalid(Reason.NOT_AN_OBJECT, hints.no_object(value))
    return value, body if body.__class__ is dict else {}


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= _MOST:
        known.clear()
