"""The step: what fires, resolves and is only recorded; properties over any stream of readings."""

import dataclasses
import datetime as dt
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltd.rules import metric_value, model, rule_state, step

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def _rule(**changes):
    values = {"name": "hot", "metric": "battery_temp_c", "applies_to": ["vehicle"], "fire_above": 80, "clear_below": 75}
    return model.Rule.model_validate(values | changes)


def _read(seconds, value, **more):
    return metric_value.MetricValue(_at(seconds), more.pop("received_at", _at(seconds)), value, **more)


def _step(rule, *readings, now=None, before=None):
    after, found = step.step(
        rule, before or rule_state.State(), readings, now or max(one.received_at for one in readings), None
    )
    return after, [(one.kind.value, (one.at - T0).total_seconds()) for one in found]


def _through_json(one):
    return rule_state.State.from_text(json.dumps(one.to_json()))


def test_one_reading_over_the_limit_between_two_checks_raises():
    """Every reading counts, not only the newest."""
    assert _step(_rule(), _read(0, 20), _read(10, 81), _read(20, 20))[1] == [("fired", 10), ("resolved", 20)]


def test_the_limit_itself_neither_fires_nor_clears():
    after, found = _step(_rule(), _read(0, 80), _read(1, 80.1), _read(2, 75))
    assert (found, after.phase) == ([("fired", 1)], rule_state.Phase.FIRING)


@pytest.mark.parametrize(("last", "kinds"), [(59.9, []), (60, [("fired", 60)]), (61, [("fired", 61)])])
def test_for_s_is_the_span_of_device_time_between_first_and_last(last, kinds):
    rule = _rule(for_s=60)
    readings = (_read(0, 90), _read(30, 90), _read(last, 90))
    assert _step(rule, *readings)[1] == kinds
    after, found = step.step(rule, rule_state.State(), readings, _at(last))
    assert all(one.opened_at == T0 for one in found)
    assert after.opened_at == T0


def test_one_reading_and_then_nothing_never_fires_a_duration():
    rule = _rule(for_s=60)
    after, _ = _step(rule, _read(0, 90))
    assert step.step(rule, after, (), _at(86400)) == (after, ())


def test_a_gap_starts_the_duration_anew():
    """Two readings far apart do not say that the value stayed over the limit in between."""
    assert _step(_rule(for_s=60), _read(0, 90), _read(901, 90))[1] == []
    assert _step(_rule(for_s=60), _read(0, 90), _read(900, 90))[1] == [("fired", 900)]


def test_duration_survives_a_restart():
    rule = _rule(for_s=60)
    after, _ = _step(rule, _read(0, 90), _read(30, 90))
    assert _step(rule, _read(60, 90), before=_through_json(after))[1] == [("fired", 60)]


def test_repeatedly_means_in_a_row():
    rule = _rule(min_count=3)
    assert _step(rule, *(_read(one, 90) for one in range(3)))[1] == [("fired", 2)]
    assert _step(rule, _read(0, 90), _read(1, 90), _read(2, 20), _read(3, 90))[1] == []


def test_worse_is_notified_once_and_belongs_to_the_same_episode():
    rule = _rule(severity_steps=[{"severity": "critical", "above": 95}])
    readings = [_read(one, value) for one, value in enumerate((90, 96, 90, 97, 20))]
    _, found = step.step(rule, rule_state.State(), readings, _at(9))
    assert [(one.kind.value, one.severity.value, one.limit) for one in found] == [
        ("fired", "warning", 80),
        ("escalated", "critical", 95),
        ("resolved", "critical", 75),
    ]
    assert {one.opened_at for one in found} == {T0}
    assert found[-1].peak_value == 97


def test_charging_ends_it_and_keeps_it_from_beginning():
    rule = _rule(fire_above=None, clear_below=None, fire_below=15, clear_above=20, clear_when_charging=True)
    assert _step(rule, _read(0, 10, charging=True))[1] == []
    _, found = step.step(rule, rule_state.State(), [_read(0, 10), _read(9, None, charging=True)], _at(9))
    assert [(one.kind, one.cause) for one in found] == [
        (rule_state.TransitionKind.FIRED, None), (rule_state.TransitionKind.RESOLVED, rule_state.Cause.CHARGING)
    ]  # fmt: skip


def test_held_alert_is_resolved_by_the_clock_when_nothing_more_comes():
    rule = _rule(keep_firing_for_s=60)
    after, found = _step(rule, _read(0, 90), _read(10, 20), now=_at(69))
    assert found == [("fired", 0)]
    after, found = step.step(rule, _through_json(after), (), _at(70))
    assert [(one.kind, one.resolved_at) for one in found] == [(rule_state.TransitionKind.RESOLVED, _at(70))]


def test_held_alert_goes_on_when_the_limit_is_passed_again():
    rule = _rule(keep_firing_for_s=60)
    readings = (_read(0, 90), _read(10, 20), _read(50, 90), _read(60, 20), _read(120, 20))
    assert _step(rule, *readings)[1] == [("fired", 0), ("resolved", 120)]


def test_excursion_at_the_end_of_the_hold_is_a_new_episode():
    """The clock and the next reading agree on the moment at which a hold-down ends."""
    rule = _rule(keep_firing_for_s=60)
    assert _step(rule, _read(0, 90), _read(10, 20), _read(70, 90))[1] == [("fired", 0), ("resolved", 70), ("fired", 70)]


def test_reading_from_before_the_end_of_a_hold_that_is_over_is_late():
    """What the clock has ended is not opened again by a reading of the time before."""
    rule = _rule(keep_firing_for_s=60)
    before, _ = _step(rule, _read(0, 90), _read(10, 20), now=_at(70))
    after, found = _step(rule, _read(65, 90, received_at=_at(71)), before=before)
    assert (after, found) == (before, [])


def test_reading_measured_once_counts_once_though_it_says_two_things():
    """The first received of one device time is the one that is stored."""
    twice = (_read(0, 90, received_at=_at(9)), _read(0, 20, received_at=_at(1)))
    assert _step(_rule(), *twice)[1] == []
    assert _step(_rule(min_count=2), _read(0, 90), _read(0, 91, received_at=_at(1)))[1] == []


@pytest.mark.parametrize(
    "past",
    [
        _read(-1000, 99, received_at=_at(-99)),  # a backlog, 15 minutes and a second old
        _read(-10, 99, received_at=_at(5)),  # out of order: a newer one was evaluated
    ],
)
def test_what_comes_late_is_recorded_and_pages_nobody(past):
    before, _ = _step(_rule(), _read(0, 20))
    after, found = _step(_rule(), past, before=before, now=_at(60))
    assert after == before
    assert [kind for kind, _ in found] == ["recorded"]


def test_retained_reading_changes_nothing():
    assert _step(_rule(), _read(0, 99, retained=True)) == (rule_state.State(), [])


def test_late_reading_within_the_running_episode_is_no_second_one():
    before, _ = _step(_rule(), _read(0, 90), _read(60, 90))
    assert _step(_rule(), _read(30, 99, received_at=_at(61)), before=before) == (before, [])


def test_backlog_that_clears_does_not_resolve_and_one_that_hides_does_not_break():
    """The live readings alone decide: history is neither good nor bad news."""
    before, _ = _step(_rule(), _read(0, 90))
    after, found = _step(_rule(), _read(10, 20, received_at=_at(2000)), before=before)
    assert (after, found) == (dataclasses.replace(before, evaluated_at=_at(10)), [])


def test_backlog_counts_as_evaluated_once_it_was():
    """Redelivered it says nothing more, not even as history, and nobody has to read it again."""
    before, _ = _step(_rule(), _read(0, 90))
    late = _read(10, 20, received_at=_at(2000))
    after, _ = _step(_rule(), late, before=before)
    assert _step(_rule(), late, before=after) == (after, [])


def test_held_reading_goes_on_with_what_runs_and_raises_nothing():
    """What could not be evaluated for an hour ends an alert at its time; what begins in it is late."""
    before, _ = _step(_rule(), _read(0, 90))
    deferred = [_read(10, 20, deferred=True), _read(20, 99, deferred=True), _read(30, 20, deferred=True)]
    after, found = _step(_rule(), *deferred, before=before, now=_at(3600))
    assert found == [("resolved", 10), ("recorded", 30)]
    assert after.phase is rule_state.Phase.RESOLVED


def test_held_reading_does_not_escalate():
    rule = _rule(severity_steps=[{"severity": "critical", "above": 95}])
    before, _ = _step(rule, _read(0, 90))
    after, found = _step(rule, _read(10, 99, deferred=True), before=before, now=_at(3600))
    assert (found, after.severity, after.peak_value) == ([], model.Severity.WARNING, 99)
    assert _step(rule, _read(3600, 90), before=after)[1] == [("escalated", 3600)]


def test_duration_runs_through_held_readings_and_a_live_one_notifies():
    rule = _rule(for_s=60)
    before, _ = _step(rule, _read(0, 90))
    after, found = _step(
        rule, _read(600, 90, deferred=True), _read(1400, 90, deferred=True), before=before, now=_at(2000)
    )
    assert (found, after.phase, after.opened_at) == ([], rule_state.Phase.PENDING, T0)
    assert _step(rule, _read(2200, 90), before=after)[1] == [("fired", 2200)]


def test_duration_that_was_over_in_held_readings_is_recorded():
    rule = _rule(for_s=60)
    before, _ = _step(rule, _read(0, 90))
    deferred = [_read(one, 90 if one < 90 else 20, deferred=True) for one in (10, 50, 80, 90)]
    assert _step(rule, *deferred, before=before, now=_at(3600))[1] == [("recorded", 90)]


def test_reread_reading_never_fires_and_counts_as_not_evaluated():
    """However recent: it is around something late."""
    after, found = _step(_rule(), _read(0, 99, reread=True), _read(5, 20, reread=True))
    assert (after, found) == (rule_state.State(), [("recorded", 5)])
    assert _step(_rule(), _read(0, 99, reread=True), _read(0, 99))[1] == [("fired", 0)]


def test_outside_active_hours_nothing_fires_but_what_fires_may_end():
    rule = _rule(active_hours={"hours": "12:00-13:00"})
    assert _step(rule, _read(-60, 90), _read(0, 90))[1] == [("fired", 0)]
    assert _step(rule, _read(3600, 90))[1] == []
    before, _ = _step(rule, _read(0, 90))
    assert _step(rule, _read(3600, 20), before=before)[1] == [("resolved", 3600)]


def test_rule_that_no_longer_applies_ends_its_episode_suppressed():
    before, _ = _step(_rule(), _read(0, 90))
    after, found = rule_state.close("hot", before, _at(9))
    assert [(one.kind, one.suppressed, one.resolved_at) for one in found] == [
        (rule_state.TransitionKind.RESOLVED, True, _at(9))
    ]
    assert rule_state.close("hot", after, _at(10)) == (after, ())


RULES = st.builds(
    lambda for_s, keep, count, steps: _rule(
        for_s=for_s,
        keep_firing_for_s=keep,
        min_count=count,
        severity_steps=[{"severity": "critical", "above": 90}] if steps else [],
    ),
    st.sampled_from([0, 0, 5, 30]),
    st.sampled_from([0, 0, 5, 30]),
    st.sampled_from([1, 1, 2]),
    st.booleans(),
)
VALUES = st.sampled_from([60.0, 75.0, 77.0, 80.0, 81.0, 85.0, 91.0, 99.0])
STREAMS = st.lists(st.tuples(st.integers(1, 20), VALUES), max_size=30).map(
    lambda gaps: [_read(sum(gap for gap, _ in gaps[: index + 1]), value) for index, (_, value) in enumerate(gaps)]
)


def _live(rule, calls, *, restart=False):
    """What is found when the readings are handed over in these calls."""
    state, now, every = rule_state.State(), T0, []
    for call in calls:
        now = max([now, *(one.received_at for one in call)])
        state, found = step.step(rule, _through_json(state) if restart else state, call, now)
        every += found
    return every


@given(RULES, STREAMS)
def test_every_resolved_follows_a_fired_and_peaks_are_extremes(rule, stream):
    found = [one for one in _live(rule, [stream]) if one.kind is not rule_state.TransitionKind.ESCALATED]
    kinds = [one.kind for one in found]
    fired, resolved = rule_state.TransitionKind.FIRED, rule_state.TransitionKind.RESOLVED
    assert kinds == [fired, resolved] * (len(kinds) // 2) + [fired] * (len(kinds) % 2)
    for began, ended in zip(found[::2], found[1::2], strict=False):
        within = [one.value for one in stream if began.opened_at <= one.recorded_at <= ended.resolved_at]
        assert began.opened_at == ended.opened_at
        assert began.opened_at <= began.at <= ended.resolved_at
        assert ended.peak_value == max(within) > 80
        assert ended.severity is rule.severity_of(max(within))


@given(RULES, st.lists(st.floats(75, 80), min_size=1, max_size=20), st.booleans())
def test_nothing_flaps_within_the_band(rule, values, firing):
    """Between clear_below and fire_above, ends included, nothing begins and nothing ends."""
    before = rule_state.State()
    if firing:
        before, _ = step.step(rule, before, [_read(one, 81) for one in range(-60, 0)], T0)
    readings = [_read(one, value) for one, value in enumerate(values, 1)]
    after, found = step.step(rule, before, readings, _at(99))
    assert (found, after.phase is rule_state.Phase.FIRING) == ((), firing)


@given(RULES, STREAMS, st.data())
def test_order_and_duplicates_within_a_call_mean_nothing(rule, stream, data):
    more = data.draw(st.lists(st.sampled_from(stream), max_size=9)) if stream else []
    shuffled = data.draw(st.permutations(stream + more))
    assert _live(rule, [shuffled]) == _live(rule, [stream])


@given(RULES, STREAMS, st.data())
def test_how_readings_are_divided_into_checks_means_nothing(rule, stream, data):
    """Checks at any time, the state through JSON between any two of them, and readings of earlier checks once more."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    bounds = [0, *cuts, len(stream)]
    calls = [stream[begin:end] for begin, end in itertools.pairwise(bounds)]
    assert _live(rule, calls, restart=True) == _live(rule, [stream])
    again = [stream[max(0, begin - 1) : end] for begin, end in itertools.pairwise(bounds)]
    assert _live(rule, again, restart=True) == _live(rule, [stream])


@given(RULES, STREAMS, st.data())
def test_redelivery_of_anything_raises_nothing_new(rule, stream, data):
    """A whole stream once more, in any order: nobody is paged."""
    state, _ = step.step(rule, rule_state.State(), stream, _at(999))
    _, found = step.step(rule, state, data.draw(st.permutations(stream)), _at(999))
    assert [one for one in found if one.kind is not rule_state.TransitionKind.RECORDED] == []


@given(RULES, STREAMS, VALUES)
def test_history_changes_neither_state_nor_episodes(rule, stream, value):
    """Retained readings and backlog among live ones: the same is found of the live ones."""
    noise = [_read(one, value, received_at=_at(one + 901)) for one in range(0, 300, 7)]
    noise += [_read(one, value, retained=True) for one in range(0, 300, 11)]
    live = {one.recorded_at for one in stream}
    mixed = stream + [one for one in noise if one.recorded_at not in live]
    plain, found = step.step(rule, rule_state.State(), stream, _at(2000))
    after, mixed_found = step.step(rule, rule_state.State(), mixed, _at(2000))
    assert dataclasses.replace(after, evaluated_at=plain.evaluated_at) == plain
    assert [one for one in mixed_found if one.kind is not rule_state.TransitionKind.RECORDED] == list(found)


def test_excursion_dated_at_the_end_of_a_hold_that_the_clock_has_ended():
    """The clock ended it at 31 s; a reading of exactly that moment, which arrives later, begins an episode."""
    rule = _rule(fire_above=50, clear_below=45, keep_firing_for_s=30)
    after, found = _step(rule, _read(0, 60), _read(1, 30), now=_at(32))
    assert found == [("fired", 0), ("resolved", 31)]
    after, found = _step(rule, _read(31, 60, received_at=_at(34)), before=_through_json(after))
    assert (found, after.opened_at) == ([("fired", 31)], _at(31))


@pytest.mark.parametrize(("value", "kind"), [(90, "fired"), (20, "resolved")])
def test_a_value_that_was_filled_in_counts_as_if_it_had_been_there(value, kind):
    """A reading without it, of the same time or later, has been evaluated meanwhile."""
    rule = _rule()
    before, _ = _step(rule, _read(0, 20 if kind == "fired" else 90), _read(5, None), _read(7, None))
    if kind == "fired":
        before = dataclasses.replace(before, evaluated_at=_at(7), valued_at=_at(0))
    after, found = _step(rule, _read(5, value, received_at=_at(8)), before=_through_json(before))
    assert found == [(kind, 5)]
    assert after.evaluated_at == _at(7)
    again = _step(rule, _read(5, value, received_at=_at(8), again=True), before=_through_json(after))
    assert again == (after, [])


def test_a_word_on_charging_that_was_filled_in_ends_the_alert():
    rule = _rule(fire_above=None, clear_below=None, fire_below=15, clear_above=20, clear_when_charging=True)
    before, _ = _step(rule, _read(0, 10), _read(5, 9))
    filled = _read(5, 9, charging=True, worded=True, received_at=_at(6))
    assert _step(rule, filled, before=_through_json(before))[1] == [("resolved", 5)]
    assert _step(rule, filled._replace(charging=False), before=_through_json(before))[1] == []


def test_a_value_that_was_filled_in_two_hours_later_is_late():
    before, _ = _step(_rule(), _read(0, 90), _read(5, None))
    after, found = _step(_rule(), _read(5, 20, received_at=_at(7200)), before=before)
    assert (found, after.phase) == ([], rule_state.Phase.FIRING)


def test_state_of_an_earlier_version_is_understood():
    """Its time holds for every field."""
    text = '{"phase": "firing", "watches": "battery_temp_c >", "evaluated_at": "2026-03-02T12:00:05Z", "count": 0,'
    text += '"opened_at": "2026-03-02T12:00:00Z", "last_seen_at": "2026-03-02T12:00:05Z", "peak_value": 90.0}'
    old = rule_state.State.from_text(text)
    assert _step(_rule(), _read(5, 20), before=old)[1] == []
    assert _step(_rule(), _read(6, 20), before=old)[1] == [("resolved", 6)]
