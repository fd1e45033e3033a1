"""What a rule is: frozen, and checked for coherence when it is made, so that evaluation never has to check again.

``load`` makes rules from rules.toml; ``evaluate`` and ``one_rule`` ask ``Rule.for_device`` which form of a rule holds
for a device, and call ``inactivity`` or ``step`` with it. No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from voltd import readings, wording
from voltd.rules import charging_status, hours, scope

MERGED = "merged"  # validation context: an override laid over its rule

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Metric(enum.StrEnum):
    """What a rule can watch, and in which unit."""

    SOC_PCT = "soc_pct"
    SPEED_KMH = "speed_kmh"
    BATTERY_TEMP_C = "battery_temp_c"
    EFFICIENCY_PCT = "efficiency_pct"
    UNASSIGNED_KWH = "unassigned_kwh"  # AC energy that no vehicle took
    CORRELATION_PCT = "correlation_pct"  # share of the vehicle's readings that met one of its meters
    PAIR_OFFSET_S = "pair_offset_s"  # seconds between the clocks of vehicle and meter, without sign
    SILENCE = "silence"  # seconds without a sign of life
    CLOCK_SKEW_S = "clock_skew_s"  # seconds between device time and arrival, without sign
    UNIT_FACTOR = "unit_factor"  # how many times too large, or too small, a value is by what else the device says
    INGEST_LAG_S = "ingest_lag_s"  # seconds that the oldest message has waited, or that the broker has been away


class Severity(enum.StrEnum):
    """How bad, from the least to the worst; ``rank`` compares."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 2 for critical."""
        return ("info", "warning", "critical").index(self.value)


TELEMETRY = tuple(map(Metric, readings.metrics()))  # values of single readings of vehicles
PAIRED = (Metric.CORRELATION_PCT, Metric.PAIR_OFFSET_S)  # computed only for the vehicles that a rule covers
HOURLY = (Metric.EFFICIENCY_PCT, Metric.UNASSIGNED_KWH, *PAIRED)  # one value a vehicle-hour, at the end of the hour

_WATCHABLE: dict[Metric, tuple[scope.DeviceType, ...]] = {
    **dict.fromkeys(TELEMETRY, ("vehicle",)),
    **dict.fromkeys(HOURLY, ("vehicle",)),
    Metric.SILENCE: ("vehicle", "meter"),
    Metric.CLOCK_SKEW_S: ("vehicle", "meter"),
    Metric.UNIT_FACTOR: ("vehicle", "meter"),
    Metric.INGEST_LAG_S: ("system",),
}


class Step(scope.TomlTable):
    """From ``below`` (or ``above``) on, an episode has this severity; ``min_count`` readings in a row confirm it."""

    severity: Severity
    below: _Number | None = None
    above: _Number | None = None
    min_count: Annotated[int, Field(ge=1)] = 1


class Override(scope.Scope):
    """Other values for some devices. Only what is named changes; of several that fit, the most specific alone holds."""

    enabled: bool | None = None
    fire_below: _Number | None = None
    clear_above: _Number | None = None
    fire_above: _Number | None = None
    fire_above_parked: _Seconds | None = None
    fire_above_at_most: _Seconds | None = None
    clear_below: _Number | None = None
    for_s: _Seconds | None = None
    keep_firing_for_s: _Seconds | None = None
    severity: Severity | None = None
    severity_steps: tuple[Step, ...] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What it changes, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in scope.Scope.model_fields}

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any(self.specificity):
            raise ValueError("name the fleets, models, vehicles or meters it is for")
        if not self.changes:
            raise ValueError("changes nothing: name a threshold, for_s, keep_firing_for_s, severity or enabled")
        return self


class Rule(scope.Scope):
    """One rule; the keys are explained in config/rules.toml.

    Exactly one of ``fire_below`` and ``fire_above`` is set, and ``clear_above`` or ``clear_below`` with it.
    ``charging`` is the table of the whole file; it is set where ``clear_when_charging`` is.
    """

    name: Annotated[str, wording.matching(r"[a-z][a-z0-9_]{0,63}", "1 to 64 of a-z, 0-9 and _, a letter first")]
    metric: Metric
    applies_to: Annotated[tuple[scope.DeviceType, ...], Field(min_length=1)]
    enabled: bool = True
    fire_below: _Number | None = None
    clear_above: _Number | None = None
    fire_above: _Number | None = None
    fire_above_parked: _Seconds | None = None
    fire_above_at_most: _Seconds | None = None
    clear_below: _Number | None = None
    for_s: _Seconds = 0.0
    keep_firing_for_s: _Seconds = 0.0
    min_count: Annotated[int, Field(ge=1)] = 1
    alone_after_intervals: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    late_after_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900.0
    grace_s: _Seconds = 60.0
    severity: Severity = Severity.WARNING
    severity_steps: tuple[Step, ...] = ()
    clear_when_charging: bool = False
    charging: charging_status.Charging = charging_status.Charging()
    fire_when_spooling: bool = False
    statuses: Annotated[tuple[Literal["active", "maintenance", "retired"], ...], Field(min_length=1)] = ("active",)
    active_hours: hours.ActiveHours | None = None
    overrides: tuple[Override, ...] = ()
    _merged: tuple[Rule, ...] = ()

    @pydantic.model_validator(mode="after")
    def _switch_points_fit(self) -> Self:
        below, above = self.fire_below, self.fire_above
        if (below is None) == (above is None):
            raise ValueError("set either fire_below or fire_above")
        if below is not None and self.clear_below is not None:
            raise ValueError(f"clear_below = {self.clear_below}: a rule with fire_below clears with clear_above")
        if above is not None and self.clear_above is not None:
            raise ValueError(f"clear_above = {self.clear_above}: a rule with fire_above clears with clear_below")
        if below is not None and self.clear_above is not None and self.clear_above < below:
            raise ValueError(f"clear_above = {self.clear_above} is below fire_below = {below}: it would flap")
        if above is not None and self.clear_below is not None and self.clear_below > above:
            raise ValueError(f"clear_below = {self.clear_below} is above fire_above = {above}: it would flap")
        return self

    @pydantic.model_validator(mode="after")
    def _metric_fits(self) -> Self:
        for one in self.applies_to:
            if one not in _WATCHABLE[self.metric]:
                raise ValueError(f"applies_to = {one!r} has no {self.metric}: {', '.join(_WATCHABLE[self.metric])} has")
        if self.clear_when_charging and self.applies_to != ("vehicle",):
            raise ValueError("clear_when_charging = true: only vehicles charge")
        if self.fire_when_spooling and self.metric is not Metric.INGEST_LAG_S:
            raise ValueError(f"fire_when_spooling = true needs metric = {Metric.INGEST_LAG_S.value!r}")
        if "system" in self.applies_to and (any(self.specificity) or self.overrides):
            raise ValueError("fleets, models, vehicles, meters and overrides mean nothing for the system itself")
        if self.metric is Metric.SILENCE:
            self._inactivity_fits()
        elif named := {"fire_above_parked", "fire_above_at_most"} & self.model_fields_set:
            raise ValueError(f"{min(named)} = {getattr(self, min(named))} means nothing but for metric = 'silence'")
        if self.alone_after_intervals and self.metric not in TELEMETRY:
            raise ValueError(f"alone_after_intervals = {self.alone_after_intervals} needs a metric of readings")
        if self.alone_after_intervals and self.for_s:
            raise ValueError("alone_after_intervals: with for_s no single reading fires; leave one of them out")
        return self

    def _inactivity_fits(self) -> None:
        if self.fire_above is None or self.fire_above <= 0:
            raise ValueError("metric = 'silence' needs fire_above: seconds without a sign of life")
        for name, neutral in (("for_s", 0), ("keep_firing_for_s", 0), ("min_count", 1)):
            if getattr(self, name) != neutral:
                raise ValueError(
                    f"{name} = {getattr(self, name)} means nothing for silence: fire_above is the duration"
                )
        if self.clear_when_charging:
            raise ValueError("clear_when_charging = true means nothing for silence")

    @pydantic.model_validator(mode="after")
    def _steps_fit(self, info: pydantic.ValidationInfo) -> Self:
        right, wrong = ("below", "above") if self.fire_below is not None else ("above", "below")
        for step in self.severity_steps:
            at = getattr(step, right)
            if at is None or getattr(step, wrong) is not None:
                raise ValueError(f"severity_steps: {step.severity.value} needs {right!r} alone, like fire_{right}")
            # Over an override's own threshold a step may be void or reached at once; both mean what they say.
            if info.context != MERGED and not self._beyond(at, self.fire_below, self.fire_above):
                raise ValueError(f"severity_steps: {right} = {at} is reached as soon as the rule fires")
            if info.context != MERGED and step.severity.rank <= self.severity.rank:
                raise ValueError(f"severity_steps: {step.severity.value} is not above severity = {self.severity.value}")
        return self

    @pydantic.model_validator(mode="after")
    def _overrides_fit(self) -> Self:
        merged = []
        for index, one in enumerate(self.overrides):
            if any(one.meets(other) for other in self.overrides[:index]):
                raise ValueError(f"overrides[{index}]: an earlier override is for the same devices")
            try:
                merged.append(self._with(one))
            except pydantic.ValidationError as error:
                said = "; ".join(wording.reason(item) for item in error.errors())
                raise ValueError(f"overrides[{index}]: {said}") from error
        self._merged = tuple(merged)
        return self

    def _with(self, override: Override) -> Rule:
        values = {name: getattr(self, name) for name in self.model_fields_set if name != "overrides"}
        return Rule.model_validate(values | override.changes, context=MERGED)

    @staticmethod
    def _beyond(value: float, below: float | None, above: float | None) -> bool:
        return (below is not None and value < below) or (above is not None and value > above)

    def for_device(self, device: scope.Device) -> Rule | None:
        """The rule as it holds for this device, with its override; None: it does not apply to this device.

        It applies to devices of its types, within its scope, with one of its statuses (a device without a status is
        active), if it is enabled.
        """
        if device.device_type not in self.applies_to or not self.includes(device):
            return None
        if (device.status or "active") not in self.statuses:
            return None
        rule, most = self, (False, False, False)
        for override, merged in zip(self.overrides, self._merged, strict=True):
            if override.specificity > most and override.includes(device):
                rule, most = merged, override.specificity
        return rule if rule.enabled else None

    def variants(self) -> tuple[Rule, ...]:
        """Every enabled form the rule can take, for bounds that none of them exceeds."""
        return tuple(rule for rule in (self, *self._merged) if rule.enabled)

    def active_at(self, at: dt.datetime) -> bool:
        """Whether ``at`` is within its active hours."""
        return self.active_hours is None or self.active_hours.contain(at)

    def over(self, value: float) -> bool:
        """Whether the value is beyond the point where the rule fires; the point itself is not."""
        return self._beyond(value, self.fire_below, self.fire_above)

    def clear(self, value: float) -> bool:
        """Whether the value is beyond the point where the rule clears; without hysteresis: not ``over``."""
        if self.clear_above is None and self.clear_below is None:
            return not self.over(value)
        return self._beyond(value, self.clear_below, self.clear_above)

    def worse(self, one: float, other: float) -> float:
        """The more extreme of two values in the direction in which the rule fires."""
        return min(one, other) if self.fire_below is not None else max(one, other)

    def severity_of(self, value: float) -> Severity:
        """Severity of an episode with this peak."""
        if not self.severity_steps:
            return self.severity
        reached = [one.severity for one in self.severity_steps if self._beyond(value, one.below, one.above)]
        return max((self.severity, *reached), key=lambda one: one.rank)

    @functools.cached_property
    def confirms_steps(self) -> bool:
        """Whether any of its steps needs more than one reading."""
        return any(one.min_count > 1 for one in self.severity_steps)

    def confirmed_severity(self, values: tuple[float | None, ...], before: Severity) -> Severity:
        """Severity of an episode that had ``before``, after these values in a row, the newest last."""
        found = before
        for one in self.severity_steps:
            last = values[-one.min_count :]
            full = one.severity.rank > found.rank and len(last) == one.min_count
            if full and all(value is not None and self._beyond(value, one.below, one.above) for value in last):
                found = one.severity
        return found

    def limit_of(self, severity: Severity) -> float:
        """The threshold that gives this severity: that of its step, otherwise the one that fires."""
        for one in self.severity_steps:
            at = one.below if one.below is not None else one.above
            if one.severity is severity and at is not None:
                return at
        return self.fire_below if self.fire_below is not None else self.fire_above or 0.0

    @property
    def clear_limit(self) -> float:
        """The point beyond which the rule clears."""
        points = (self.clear_above, self.clear_below, self.fire_below, self.fire_above)
        return next(one for one in points if one is not None)

    @property
    def watches(self) -> str:
        """What it watches and in which direction; a state made by a rule that watches something else does not apply."""
        return f"{self.metric} {'<' if self.fire_below is not None else '>'}"
