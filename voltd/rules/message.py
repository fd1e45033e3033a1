"""A transition as one line for people: who, what, how bad, since when. Called where an episode is written. Pure."""

from __future__ import annotations

import datetime as dt

from voltd.rules import model, scope
from voltd.rules import state as states

_MOST_DETAIL = 80
_SUBJECT = {
    model.Metric.SOC_PCT: ("state of charge", " %"),
    model.Metric.SPEED_KMH: ("speed", " km/h"),
    model.Metric.BATTERY_TEMP_C: ("battery temperature", " °C"),
    model.Metric.EFFICIENCY_PCT: ("hourly charging efficiency", " %"),
    model.Metric.SILENCE: ("silent for", " s"),
    model.Metric.CLOCK_SKEW_S: ("clock off by", " s"),
    model.Metric.INGEST_LAG_S: ("messages waiting for", " s"),
}
_ENDED = {
    states.Cause.CLEARED: "is over",
    states.Cause.CHARGING: "is over: charging",
    states.Cause.SEEN: "is over: heard again",
    states.Cause.NOT_APPLICABLE: "no longer applies",
}


def text(told: states.Transition, device: scope.Device) -> str:
    """For example ``vehicle EV-7 (fleet north): soc_low warning: state of charge 12 % (limit 15 %)``."""
    who = f"{device.device_type} {device.device_id}" + (f" (fleet {device.fleet_id})" if device.fleet_id else "")
    head = f"{who}: {told.rule} {told.severity}"
    if told.kind in (states.Kind.RESOLVED, states.Kind.RECORDED):
        lasted_s = ((told.resolved_at or told.at) - told.opened_at).total_seconds()
        ended = "was in the past" if told.kind is states.Kind.RECORDED else _ENDED[told.cause or states.Cause.CLEARED]
        peak = f", peak {_with_unit(told, told.peak_value)}" if told.peak_value is not None and told.metric else ""
        return f"{head} {ended} after {_duration(lasted_s)}{peak}"
    if told.note is not None:
        return f"{head}: {told.note}"
    if told.metric is None or told.limit is None:
        return head
    if told.metric is model.Metric.INGEST_LAG_S and (told.value is None or told.value <= told.limit):
        return f"{head}: the spool is in use"
    subject, _ = _SUBJECT[told.metric]
    if told.value is None:
        return f"{head}: {subject}"
    return f"{head}: {subject} {_with_unit(told, told.value)} (limit {_with_unit(told, told.limit)})"


def refused(reason: str, detail: str, since: dt.datetime) -> str:
    """Of a device that is not silent, like ``sends, but everything is refused: wrong_type soc since <time> UTC``."""
    field, colon, _ = detail.partition(":")
    what = field if colon and field.isidentifier() else detail[:_MOST_DETAIL]
    text = f"sends, but everything is refused: {reason} {what} since {since.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return " ".join(text.split())


def _with_unit(told: states.Transition, value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") + (_SUBJECT[told.metric][1] if told.metric else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts[:3] if part) or "0 s"
