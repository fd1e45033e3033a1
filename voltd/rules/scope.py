"""Which devices a rule is for: a device as rules know it, and the lists that a rule or an override names.

Part of a rule (``model``). No I/O.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import pydantic
from pydantic import Field

_Text = Annotated[str, Field(min_length=1)]
_Id = Annotated[str, Field(min_length=1, max_length=64)]
DeviceType = Literal["vehicle", "meter", "system"]


class Device(NamedTuple):
    """A device as rules know it. An unregistered one has neither fleet nor model, and counts as active.

    ``note`` is what voltd itself reports of an outage, or found on the device's units, for people.
    """

    device_type: DeviceType
    device_id: str
    fleet_id: str | None = None
    model: str | None = None
    status: str | None = None
    note: str = ""


class TomlTable(pydantic.BaseModel):
    """A table of rules.toml: an unknown key is refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Scope(TomlTable):
    """Which devices are meant: empty lists mean all; a device must be in each list that is not empty.

    ``vehicles`` and ``meters`` count as one list of devices. A meter has no model.
    """

    fleets: tuple[_Id, ...] = ()
    models: tuple[_Text, ...] = ()
    vehicles: tuple[_Id, ...] = ()
    meters: tuple[_Id, ...] = ()

    def includes(self, device: Device) -> bool:
        """Whether the device is meant."""
        if self.fleets and device.fleet_id not in self.fleets:
            return False
        if self.models and device.model not in self.models:
            return False
        if self.vehicles or self.meters:
            return device.device_id in (self.vehicles if device.device_type == "vehicle" else self.meters)
        return True

    @property
    def specificity(self) -> tuple[bool, bool, bool]:
        """Compares: a device over a model over a fleet; naming two kinds is more than naming one of them."""
        return (bool(self.vehicles or self.meters), bool(self.models), bool(self.fleets))

    def meets(self, other: Scope) -> bool:
        """Whether a device can be meant by both, with equal specificity."""
        if self.specificity != other.specificity:
            return False
        ours, theirs = self.vehicles + self.meters, other.vehicles + other.meters
        devices = bool(set(self.vehicles) & set(other.vehicles) or set(self.meters) & set(other.meters))
        return (
            (devices or not (ours and theirs))
            and (bool(set(self.models) & set(other.models)) or not self.models)
            and (bool(set(self.fleets) & set(other.fleets)) or not self.fleets)
        )
