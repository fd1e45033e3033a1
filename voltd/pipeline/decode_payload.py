"""What a payload must be like: the wire contract as pydantic models, and which reason each violation has.

``decode`` calls this; the checks run in pydantic's compiled core. Field names are the wire's, units as in the
contract: %, km/h, degrees Celsius, kWh, V, A, kW, degrees, km. Bounds that the contract leaves open end at 1e9, so
that no sum over them can overflow. No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec
import pydantic
from pydantic import AliasChoices, Field
from pydantic_core import core_schema

from voltd import models
from voltd.pipeline import decode_fast

_UNBOUNDED = decode_fast.UNBOUNDED


class _Rfc3339:
    """RFC 3339 date-time with offset, by the same parser as in ``decode_fast``: both read the same time."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        text = core_schema.str_schema(strict=True)
        return core_schema.chain_schema([text, core_schema.no_info_plain_validator_function(cls._read)])

    @staticmethod
    def _read(text: str) -> dt.datetime:
        try:
            return msgspec.convert(text, decode_fast.Time)
        except msgspec.ValidationError:
            raise ValueError("should be an RFC 3339 date-time with offset, like 2026-05-01T12:00:00Z") from None


_Id = Annotated[str, Field(min_length=1, max_length=64)]
_Time = Annotated[dt.datetime, _Rfc3339]
_Positive = Annotated[float, Field(ge=0, le=_UNBOUNDED)]
_Signed = Annotated[float, Field(ge=-_UNBOUNDED, le=_UNBOUNDED)]


class _Payload(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    timestamp: _Time = Field(validation_alias=AliasChoices("timestamp", "createdAt"))


class TimeOnly(pydantic.BaseModel):
    """What a payload must have for its age to be judged, whatever else is wrong with it."""

    timestamp: _Time = Field(validation_alias=AliasChoices("timestamp", "createdAt"))


class VehiclePayload(_Payload):
    """A vehicle reading on the wire; everything but id and time is optional."""

    id: _Id | None = Field(None, validation_alias="vehicleId")
    soc: Annotated[float, Field(ge=0, le=100)] | None = None
    speed: Annotated[float, Field(ge=0, le=400)] | None = None
    battery_temp: Annotated[float, Field(ge=-60, le=200)] | None = Field(
        None, validation_alias=AliasChoices("batteryTemp", "temperature")
    )
    kwh: _Positive | None = Field(None, validation_alias="kwhDeliveredDc")
    register_kwh: _Positive | None = Field(None, validation_alias="kwhDeliveredDcTotal")
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    charging_status: Annotated[str, Field(max_length=32)] | None = Field(None, validation_alias="chargingStatus")
    odometer: _Positive | None = None
    returned_kwh: _Positive | None = Field(None, validation_alias="kwhReturnedDc")
    returned_register_kwh: _Positive | None = Field(None, validation_alias="kwhReturnedDcTotal")
    diagnostics: dict[str, Any] | None = None


class MeterPayload(_Payload):
    """A meter reading on the wire."""

    id: _Id | None = Field(None, validation_alias="meterId")
    kwh: _Positive | None = Field(None, validation_alias="kwhConsumedAc")
    register_kwh: _Positive | None = Field(None, validation_alias="kwhConsumedAcTotal")
    voltage: Annotated[float, Field(ge=0, le=1000)] | None = None
    current: _Signed | None = None
    power: _Signed | None = None
    returned_kwh: _Positive | None = Field(None, validation_alias="kwhReturnedAc")
    returned_register_kwh: _Positive | None = Field(None, validation_alias="kwhReturnedAcTotal")


VEHICLE: pydantic.TypeAdapter[VehiclePayload] = pydantic.TypeAdapter(VehiclePayload)
TIME_ONLY: pydantic.TypeAdapter[TimeOnly] = pydantic.TypeAdapter(TimeOnly)
METER: pydantic.TypeAdapter[MeterPayload] = pydantic.TypeAdapter(MeterPayload)

_BY_KIND = dict.fromkeys(("finite_number", "greater_than_equal", "less_than_equal"), models.Reason.OUT_OF_RANGE)
_BY_KIND |= dict.fromkeys(("string_too_short", "string_too_long", "string_unicode"), models.Reason.BAD_TEXT)
_TIME_FIELDS = frozenset({"timestamp", "createdAt"})


def explain(error: pydantic.ValidationError) -> tuple[models.Reason, str]:
    """The reason and a one-line detail of the first violation.

    Returns:
        a reason of the bounded list, and text of at most 200 characters that names field, problem and value.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    kind = first["type"]
    field = ".".join(str(part) for part in first["loc"])
    shown = "" if kind in {"missing", "json_invalid"} else f", not {first['input']!r:.60}"
    message = first["msg"].removeprefix("Value error, ")
    detail = f"{field}: {message}{shown}" if field else message
    return _reason(kind, field), detail[:200]


def _reason(kind: str, field: str) -> models.Reason:
    if kind == "json_invalid":
        return models.Reason.NOT_JSON
    if kind == "missing":
        return models.Reason.MISSING_FIELD
    if not field:
        return models.Reason.NOT_AN_OBJECT
    if field in _TIME_FIELDS:
        return models.Reason.BAD_TIME
    return _BY_KIND.get(kind, models.Reason.WRONG_TYPE)
