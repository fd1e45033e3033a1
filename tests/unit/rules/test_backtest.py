"""Rules over stored history find what a daemon would have found at the time, in whatever parts they get it."""

import datetime as dt

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from voltd.rules import advance, charging_status, evaluate, model, observation, rhythm, rule_state, scope
from voltd.rules.backtest import episodes

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LONG_AGO = T0 - dt.timedelta(days=1)
EV = scope.Device("vehicle", "v1", "north")
KEY: tuple[scope.DeviceType, str] = ("vehicle", "v1")
HALF_A_SECOND = dt.timedelta(seconds=0.5)  # between two checks of the test's daemon


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def _rule(**values):
    return model.Rule.model_validate({"name": "r", "metric": "speed_kmh", "applies_to": ("vehicle",), **values})


class Live:
    """A daemon that checks after every reading; what it would have put into the tables."""

    def __init__(self, rule):
        self._rules, self._states, self._open = evaluate.RuleSet((rule,)), {}, None
        self.episodes = []

    def check(self, now, rows=(), seen=None, activity=None):
        for one in self._rules.evaluate(
            rows,
            {KEY: EV},
            seen or {},
            self._states,
            now=now,
            healthy_since=LONG_AGO,
            evaluated_at=None,
            activity=activity,
        ):
            self._states[one.rule, *KEY] = one.state
            for new in one.transitions:
                if new.kind is rule_state.TransitionKind.RESOLVED:
                    self.episodes.append((new.opened_at, new.resolved_at, new.severity, new.peak_value))

    def end(self, now, rows=(), seen=None, activity=None):
        self.check(now, rows, seen, activity)
        (last,) = self._states.values() or (rule_state.State(),)
        if last.phase is rule_state.Phase.FIRING:
            self.episodes.append((last.opened_at, None, last.severity, last.peak_value))
        return self.episodes


_rules = st.builds(
    _rule,
    fire_above=st.just(120.0),
    clear_below=st.sampled_from((None, 115.0)),
    for_s=st.sampled_from((0, 60, 150)),
    min_count=st.sampled_from((1, 3)),
    keep_firing_for_s=st.sampled_from((0, 90)),
    late_after_s=st.sampled_from((200, 900)),
    severity_steps=st.sampled_from(((), ({"severity": "critical", "above": 140.0},))),
    clear_when_charging=st.booleans(),
    active_hours=st.sampled_from((None, {"hours": "12:05-12:15"})),
    overrides=st.sampled_from(((), ({"fleets": ["north"], "fire_above": 118.0},))),
)
_values = st.sampled_from((None, 2.0, 80.0, 114.0, 117.0, 119.0, 120.0, 121.0, 139.0, 141.0))
_words = st.sampled_from((None, None, "charging", "idle"))
_streams = st.lists(st.tuples(st.sampled_from((1, 30, 60, 95, 250)), _values, _words), max_size=40)


@settings(deadline=None, max_examples=200)
@given(_rules, _streams, st.sampled_from((0, 100, 1000)))
def test_as_a_daemon_that_checked_after_every_reading(rule, stream, quiet_s):
    """Same begins, ends, severities and peaks, and the same that is open at the end."""
    live, rows, seconds, known = Live(rule), [], 0, charging_status.ChargingTracker(rule.charging)
    for pause, speed, word in stream:
        seconds += pause
        at = _at(seconds)
        charging = known.read(at, word, speed)
        rows.append(("v1", at, at, None, speed, None, word))
        live.check(at, [observation.Observation("vehicle", "v1", at, at, speed_kmh=speed, charging=charging)])
    tracker = episodes.Tracker(rule.for_device(EV), EV)
    episodes.add_rows([tracker], rows)
    end = _at(seconds + quiet_s)
    found = [(one.opened_at, one.resolved_at, one.severity, one.peak_value) for one in tracker.end(end)]
    assert found == live.end(end)


@pytest.mark.slow
@settings(deadline=None)
@example([20], 40, None, {"hours": "12:01-12:02"}, None)
@given(
    st.lists(st.integers(1, 40) | st.sampled_from((95, 120, 260)), min_size=1, max_size=12),
    st.integers(0, 40),
    st.sampled_from((None, 3.0, 8.0)),
    st.sampled_from((None, {"hours": "12:01-12:02"})),
    st.sampled_from((None, 70.0, 1000.0)),
)
def test_inactivity_as_a_daemon_that_evaluates_every_second(pauses, quiet_s, clear_below, active_hours, at_most):
    """The gaps that are too long, and nothing else, become episodes; peaks are to the second of the check."""
    assume(at_most is None or active_hours is None)  # a learnt limit ends at no half second, the hours do
    rule = _rule(
        metric="silence", fire_above=10.0, clear_below=clear_below, active_hours=active_hours,
        severity_steps=({"severity": "critical", "above": 20.0},), fire_above_at_most=at_most,
    )  # fmt: skip
    signs = [0]
    for pause in pauses:
        signs.append(signs[-1] + pause)
    live, end, known = Live(rule), signs[-1] + quiet_s, rhythm.Rhythm()
    for second in range(end):
        if second in signs[1:]:
            known.note(_at(second), second - signs[signs.index(second) - 1])
        seen = max(one for one in signs if one <= second)
        activity = {KEY: rhythm.DeviceActivity(known.usual_s(_at(seen)))}
        # what falls between two whole seconds is evaluated in time, too
        live.check(_at(second), seen={KEY: _at(seen)}, activity=activity)
        live.check(_at(second + 0.5), seen={KEY: _at(seen)}, activity=activity)
    if end == signs[-1] and len(signs) > 1:
        known.note(_at(end), end - signs[-2])
    activity = {KEY: rhythm.DeviceActivity(known.usual_s(_at(signs[-1])))}
    expected = [one[:3] for one in live.end(_at(end), seen={KEY: _at(signs[-1])}, activity=activity)]
    gaps = [
        episodes.Gap(_at(one), _at(other) if other is not None else None)
        for number, (one, other) in enumerate(zip(signs, (*signs[1:], None), strict=True))
        if (other if other is not None else end) - one > 10 / rhythm.FACTOR or number < 2
    ]
    found = episodes.of_inactivity(rule, EV, gaps, _at(end))
    found = [one for one in found if one.resolved_at is None or one.resolved_at - one.opened_at > HALF_A_SECOND]
    assert [(one.opened_at, one.resolved_at, one.severity) for one in found] == expected
    assert all(one.peak_value > 10 for one in found)


def test_a_calm_history_is_not_evaluated_at_all(monkeypatch):
    """What is within the limits never reaches the step, which is what makes millions of readings affordable."""
    evaluated = []
    monkeypatch.setattr(advance, "run", lambda _rule, one, rows: evaluated.append(rows) or (one, ()))
    tracker = episodes.Tracker(_rule(fire_above=120.0), EV)
    episodes.add_rows([tracker], [("v1", _at(n), _at(n), 50.0, 119.0, 30.0, "idle") for n in range(100)])
    assert evaluated == []


def test_what_arrived_too_late_is_a_past_episode_and_notifies_nobody():
    """A backlog of an hour ago with an excursion of its own, then one in time."""
    tracker = episodes.Tracker(_rule(fire_above=120.0), EV)
    late = [("v1", _at(n), _at(7200), None, speed, None, None) for n, speed in ((0, 130.0), (60, 100.0))]
    live = [("v1", _at(n), _at(n), None, speed, None, None) for n, speed in ((7200, 125.0), (7260, 100.0))]
    episodes.add_rows([tracker], [*late, *live])
    found = tracker.end(_at(9000))
    assert [(one.opened_at, one.resolved_at, one.past, one.messages) for one in found] == [
        (_at(7200), _at(7260), False, 2),
        (_at(0), _at(60), True, 0),
    ]


def test_messages_count_what_a_channel_is_notified_of():
    """Fired, worse, resolved: three; what is still open has not been resolved."""
    rule = _rule(fire_above=120.0, severity_steps=({"severity": "critical", "above": 140.0},))
    tracker = episodes.Tracker(rule, EV)
    speeds = (130.0, 150.0, 100.0, 125.0)
    rows = [("v1", _at(60 * n), _at(60 * n), None, speed, None, None) for n, speed in enumerate(speeds)]
    episodes.add_rows([tracker], rows)
    assert [(one.messages, one.severity, one.resolved_at) for one in tracker.end(_at(300))] == [
        (3, "critical", _at(120)),
        (1, "warning", None),
    ]


def test_what_is_held_ends_with_the_time_and_not_only_with_a_reading():
    """keep_firing_for_s is over before the period is: the episode has ended. Not over: it is still open."""
    rule = _rule(fire_above=120.0, keep_firing_for_s=90)
    for end, resolved_at in ((_at(149), None), (_at(150), _at(150))):
        tracker = episodes.Tracker(rule, EV)
        rows = [("v1", _at(n), _at(n), None, speed, None, None) for n, speed in ((0, 130.0), (60, 100.0))]
        episodes.add_rows([tracker], rows)
        assert [(one.opened_at, one.resolved_at) for one in tracker.end(end)] == [(_at(0), resolved_at)]
