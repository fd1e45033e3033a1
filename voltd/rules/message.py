"""A transition as one line for people: who, what, how severe, since when. Called by ``cycle.persistence``. Pure."""

from __future__ import annotations

import datetime as dt

from voltd.rules import model, rule_state, scope

_MOST_DETAIL = 80
SUBJECT = {
    model.Metric.SOC_PCT: ("state of charge", " %"),
    model.Metric.SPEED_KMH: ("speed", " km/h"),
    model.Metric.BATTERY_TEMP_C: ("battery temperature", " °C"),
    model.Metric.EFFICIENCY_PCT: ("hourly charging efficiency", " %"),
    model.Metric.UNASSIGNED_KWH: ("energy of the meter in an hour that no vehicle took", " kWh"),
    model.Metric.CORRELATION_PCT: ("readings of an hour that met one of the meter", " %"),
    model.Metric.PAIR_OFFSET_S: ("clocks of vehicle and meter apart by", " s"),
    model.Metric.SILENCE: ("silent for", " s"),
    model.Metric.CLOCK_SKEW_S: ("clock off by", " s"),
    model.Metric.UNIT_FACTOR: ("a value too large or too small", " times"),
    model.Metric.INGEST_LAG_S: ("messages waiting for", " s"),
}
_ENDED = {
    rule_state.Cause.CLEARED: "is over",
    rule_state.Cause.CHARGING: "is over: charging",
    rule_state.Cause.SEEN: "is over: heard again",
    rule_state.Cause.NOT_APPLICABLE: "no longer applies",
}


def text(transition: rule_state.Transition, device: scope.Device) -> str:
    """For example ``vehicle EV-7 (fleet north): soc_low warning: state of charge 12 % (limit 15 %)``."""
    who = f"{device.device_type} {device.device_id}" + (f" (fleet {device.fleet_id})" if device.fleet_id else "")
    head = f"{who}: {transition.rule} {transition.severity}"
    metric, value, limit = transition.metric, transition.value, transition.limit
    if transition.kind in (rule_state.TransitionKind.RESOLVED, rule_state.TransitionKind.RECORDED):
        past = transition.kind is rule_state.TransitionKind.RECORDED
        ended = "was in the past" if past else _ENDED[transition.cause or rule_state.Cause.CLEARED]
        lasted_s = ((transition.resolved_at or transition.at) - transition.opened_at).total_seconds()
        worst = transition.peak_value
        peak = f", peak {_with_unit(metric, worst)}" if metric is not None and worst is not None else ""
        return f"{head} {ended} after {_duration(lasted_s)}{peak}"
    note = transition.note or (device.note if metric is model.Metric.INGEST_LAG_S else "")
    if note:
        return f"{head}: {note}"
    if metric is None or limit is None:
        return head
    if metric is model.Metric.INGEST_LAG_S and (value is None or value <= limit):
        return f"{head}: the spool is in use"
    subject, _ = SUBJECT[metric]
    if value is None:
        return f"{head}: {subject}"
    return f"{head}: {subject} {_with_unit(metric, value)} (limit {_with_unit(metric, limit)})"


def refused(reason: str, detail: str, since: dt.datetime) -> str:
    """For example ``sends, but everything is refused: wrong_type soc since 2026-03-02 12:00 UTC``."""
    field, colon, _ = detail.partition(":")
    what = field if colon and field.isidentifier() else detail[:_MOST_DETAIL]
    text = f"sends, but everything is refused: {reason} {what} since {since.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return " ".join(text.split())


def _with_unit(metric: model.Metric, value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") + SUBJECT[metric][1]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts[:3] if part) or "0 s"
