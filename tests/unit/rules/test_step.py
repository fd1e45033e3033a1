"""The step: what is raised, held, resolved and only recorded; properties over any stream of readings."""

import dataclasses
import datetime as dt
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltd.rules import model, state, step

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def _rule(**changes):
    values = {"name": "hot", "metric": "battery_temp_c", "applies_to": ["vehicle"], "fire_above": 80, "clear_below": 75}
    return model.Rule.model_validate(values | changes)


def _read(seconds, value, **more):
    return step.Measured(_at(seconds), more.pop("received_at", _at(seconds)), value, **more)


def _told(rule, *readings, now=None, before=None):
    after, told = step.step(
        rule, before or state.State(), readings, now or max(one.received_at for one in readings), None
    )
    return after, [(one.kind.value, (one.at - T0).total_seconds()) for one in told]


def _through_json(one):
    return state.State.from_text(json.dumps(one.to_json()))


def test_one_reading_over_the_limit_between_two_checks_raises():
    """Every reading counts, not only the newest."""
    assert _told(_rule(), _read(0, 20), _read(10, 81), _read(20, 20))[1] == [("fired", 10), ("resolved", 20)]


def test_the_limit_itself_neither_fires_nor_clears():
    after, told = _told(_rule(), _read(0, 80), _read(1, 80.1), _read(2, 75))
    assert (told, after.phase) == ([("fired", 1)], state.Phase.FIRING)


@pytest.mark.parametrize(("last", "kinds"), [(59.9, []), (60, [("fired", 60)]), (61, [("fired", 61)])])
def test_for_s_is_the_span_of_device_time_between_first_and_last(last, kinds):
    rule = _rule(for_s=60)
    readings = (_read(0, 90), _read(30, 90), _read(last, 90))
    assert _told(rule, *readings)[1] == kinds
    after, told = step.step(rule, state.State(), readings, _at(last))
    assert all(one.opened_at == T0 for one in told)
    assert after.opened_at == T0


def test_one_reading_and_then_silence_never_fires_a_duration():
    rule = _rule(for_s=60)
    after, _ = _told(rule, _read(0, 90))
    assert step.step(rule, after, (), _at(86400)) == (after, ())


def test_a_gap_starts_the_duration_anew():
    """Two readings far apart do not say that the value stayed over the limit in between."""
    assert _told(_rule(for_s=60), _read(0, 90), _read(901, 90))[1] == []
    assert _told(_rule(for_s=60), _read(0, 90), _read(900, 90))[1] == [("fired", 900)]


def test_duration_survives_a_restart():
    rule = _rule(for_s=60)
    after, _ = _told(rule, _read(0, 90), _read(30, 90))
    assert _told(rule, _read(60, 90), before=_through_json(after))[1] == [("fired", 60)]


def test_repeatedly_means_in_a_row():
    rule = _rule(min_count=3)
    assert _told(rule, *(_read(one, 90) for one in range(3)))[1] == [("fired", 2)]
    assert _told(rule, _read(0, 90), _read(1, 90), _read(2, 20), _read(3, 90))[1] == []


def test_worse_is_told_once_and_belongs_to_the_same_episode():
    rule = _rule(severity_steps=[{"severity": "critical", "above": 95}])
    readings = [_read(one, value) for one, value in enumerate((90, 96, 90, 97, 20))]
    _, told = step.step(rule, state.State(), readings, _at(9))
    assert [(one.kind.value, one.severity.value, one.limit) for one in told] == [
        ("fired", "warning", 80),
        ("escalated", "critical", 95),
        ("resolved", "critical", 75),
    ]
    assert {one.opened_at for one in told} == {T0}
    assert told[-1].peak_value == 97


def test_charging_ends_it_and_keeps_it_from_beginning():
    rule = _rule(fire_above=None, clear_below=None, fire_below=15, clear_above=20, clear_when_charging=True)
    assert _told(rule, _read(0, 10, charging=True))[1] == []
    _, told = step.step(rule, state.State(), [_read(0, 10), _read(9, None, charging=True)], _at(9))
    assert [(one.kind, one.cause) for one in told] == [
        (state.Kind.FIRED, None), (state.Kind.RESOLVED, state.Cause.CHARGING)
    ]  # fmt: skip


def test_held_alert_is_resolved_by_the_clock_when_nothing_more_comes():
    rule = _rule(keep_firing_for_s=60)
    after, told = _told(rule, _read(0, 90), _read(10, 20), now=_at(69))
    assert told == [("fired", 0)]
    after, told = step.step(rule, _through_json(after), (), _at(70))
    assert [(one.kind, one.resolved_at) for one in told] == [(state.Kind.RESOLVED, _at(70))]


def test_held_alert_goes_on_when_the_limit_is_passed_again():
    rule = _rule(keep_firing_for_s=60)
    readings = (_read(0, 90), _read(10, 20), _read(50, 90), _read(60, 20), _read(120, 20))
    assert _told(rule, *readings)[1] == [("fired", 0), ("resolved", 120)]


def test_excursion_at_the_end_of_the_hold_is_a_new_episode():
    """The clock and the next reading agree on the moment at which a held alert is over."""
    rule = _rule(keep_firing_for_s=60)
    assert _told(rule, _read(0, 90), _read(10, 20), _read(70, 90))[1] == [("fired", 0), ("resolved", 70), ("fired", 70)]


def test_reading_from_before_the_end_of_a_hold_that_is_over_is_late():
    """What the clock has ended is not opened again by a reading of the time before."""
    rule = _rule(keep_firing_for_s=60)
    before, _ = _told(rule, _read(0, 90), _read(10, 20), now=_at(70))
    after, told = _told(rule, _read(65, 90, received_at=_at(71)), before=before)
    assert (after, told) == (before, [])


def test_reading_measured_once_counts_once_though_it_says_two_things():
    """The first received of one device time is the one that is stored."""
    twice = (_read(0, 90, received_at=_at(9)), _read(0, 20, received_at=_at(1)))
    assert _told(_rule(), *twice)[1] == []
    assert _told(_rule(min_count=2), _read(0, 90), _read(0, 91, received_at=_at(1)))[1] == []


@pytest.mark.parametrize(
    "past",
    [
        _read(-1000, 99, received_at=_at(-99)),  # a backlog, 15 minutes and a second old
        _read(-10, 99, received_at=_at(5)),  # out of order: a newer one was judged
    ],
)
def test_what_comes_late_is_recorded_and_pages_nobody(past):
    before, _ = _told(_rule(), _read(0, 20))
    after, told = _told(_rule(), past, before=before, now=_at(60))
    assert after == before
    assert [kind for kind, _ in told] == ["recorded"]


def test_retained_reading_changes_nothing():
    assert _told(_rule(), _read(0, 99, retained=True)) == (state.State(), [])


def test_late_reading_within_the_running_episode_is_no_second_one():
    before, _ = _told(_rule(), _read(0, 90), _read(60, 90))
    assert _told(_rule(), _read(30, 99, received_at=_at(61)), before=before) == (before, [])


def test_backlog_that_clears_does_not_resolve_and_one_that_hides_does_not_break():
    """The live readings alone decide: history is neither good nor bad news."""
    before, _ = _told(_rule(), _read(0, 90))
    after, told = _told(_rule(), _read(10, 20, received_at=_at(2000)), before=before)
    assert (after, told) == (dataclasses.replace(before, judged_at=_at(10)), [])


def test_backlog_counts_as_judged_once_it_was():
    """Redelivered it says nothing more, not even as history, and nobody has to read it again."""
    before, _ = _told(_rule(), _read(0, 90))
    late = _read(10, 20, received_at=_at(2000))
    after, _ = _told(_rule(), late, before=before)
    assert _told(_rule(), late, before=after) == (after, [])


def test_held_reading_goes_on_with_what_runs_and_raises_nothing():
    """What could not be judged for an hour ends an alert at its time; what begins in it is history."""
    before, _ = _told(_rule(), _read(0, 90))
    held = [_read(10, 20, held=True), _read(20, 99, held=True), _read(30, 20, held=True)]
    after, told = _told(_rule(), *held, before=before, now=_at(3600))
    assert told == [("resolved", 10), ("recorded", 30)]
    assert after.phase is state.Phase.RESOLVED


def test_held_reading_does_not_escalate():
    rule = _rule(severity_steps=[{"severity": "critical", "above": 95}])
    before, _ = _told(rule, _read(0, 90))
    after, told = _told(rule, _read(10, 99, held=True), before=before, now=_at(3600))
    assert (told, after.severity, after.peak_value) == ([], model.Severity.WARNING, 99)
    assert _told(rule, _read(3600, 90), before=after)[1] == [("escalated", 3600)]


def test_duration_runs_through_held_readings_and_is_told_by_a_live_one():
    rule = _rule(for_s=60)
    before, _ = _told(rule, _read(0, 90))
    after, told = _told(rule, _read(600, 90, held=True), _read(1400, 90, held=True), before=before, now=_at(2000))
    assert (told, after.phase, after.opened_at) == ([], state.Phase.PENDING, T0)
    assert _told(rule, _read(2200, 90), before=after)[1] == [("fired", 2200)]


def test_duration_that_was_over_in_held_readings_is_recorded():
    rule = _rule(for_s=60)
    before, _ = _told(rule, _read(0, 90))
    held = [_read(one, 90 if one < 90 else 20, held=True) for one in (10, 50, 80, 90)]
    assert _told(rule, *held, before=before, now=_at(3600))[1] == [("recorded", 90)]


def test_reading_read_for_the_past_is_never_news_and_counts_as_not_judged():
    """However recent: it is around something late."""
    after, told = _told(_rule(), _read(0, 99, past=True), _read(5, 20, past=True))
    assert (after, told) == (state.State(), [("recorded", 5)])
    assert _told(_rule(), _read(0, 99, past=True), _read(0, 99))[1] == [("fired", 0)]


def test_outside_active_hours_nothing_fires_but_what_fires_may_end():
    rule = _rule(active_hours={"hours": "12:00-13:00"})
    assert _told(rule, _read(-60, 90), _read(0, 90))[1] == [("fired", 0)]
    assert _told(rule, _read(3600, 90))[1] == []
    before, _ = _told(rule, _read(0, 90))
    assert _told(rule, _read(3600, 20), before=before)[1] == [("resolved", 3600)]


def test_rule_that_no_longer_applies_ends_its_episode_quietly():
    before, _ = _told(_rule(), _read(0, 90))
    after, told = state.close("hot", before, _at(9))
    assert [(one.kind, one.quiet, one.resolved_at) for one in told] == [(state.Kind.RESOLVED, True, _at(9))]
    assert state.close("hot", after, _at(10)) == (after, ())


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
    """What is told when the readings are handed over in these calls."""
    now, found, all_told = state.State(), T0, []
    for call in calls:
        found = max([found, *(one.received_at for one in call)])
        now, told = step.step(rule, _through_json(now) if restart else now, call, found)
        all_told += told
    return all_told


@given(RULES, STREAMS)
def test_every_resolved_follows_a_fired_and_peaks_are_extremes(rule, stream):
    told = [one for one in _live(rule, [stream]) if one.kind is not state.Kind.ESCALATED]
    kinds = [one.kind for one in told]
    assert kinds == [state.Kind.FIRED, state.Kind.RESOLVED] * (len(kinds) // 2) + [state.Kind.FIRED] * (len(kinds) % 2)
    for fired, ended in zip(told[::2], told[1::2], strict=False):
        within = [one.value for one in stream if fired.opened_at <= one.recorded_at <= ended.resolved_at]
        assert fired.opened_at == ended.opened_at
        assert fired.opened_at <= fired.at <= ended.resolved_at
        assert ended.peak_value == max(within) > 80
        assert ended.severity is rule.severity_of(max(within))


@given(RULES, st.lists(st.floats(75, 80), min_size=1, max_size=20), st.booleans())
def test_nothing_flaps_within_the_band(rule, values, firing):
    """Between clear_below and fire_above, ends included, nothing begins and nothing ends."""
    before = state.State()
    if firing:
        before, _ = step.step(rule, before, [_read(one, 81) for one in range(-60, 0)], T0)
    readings = [_read(one, value) for one, value in enumerate(values, 1)]
    after, told = step.step(rule, before, readings, _at(99))
    assert (told, after.phase is state.Phase.FIRING) == ((), firing)


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
    found, _ = step.step(rule, state.State(), stream, _at(999))
    _, told = step.step(rule, found, data.draw(st.permutations(stream)), _at(999))
    assert [one for one in told if one.kind is not state.Kind.RECORDED] == []


@given(RULES, STREAMS, VALUES)
def test_history_changes_neither_state_nor_episodes(rule, stream, value):
    """Retained readings and backlog among live ones: the same is told of the live ones."""
    noise = [_read(one, value, received_at=_at(one + 901)) for one in range(0, 300, 7)]
    noise += [_read(one, value, retained=True) for one in range(0, 300, 11)]
    live = {one.recorded_at for one in stream}
    mixed = stream + [one for one in noise if one.recorded_at not in live]
    plain, told = step.step(rule, state.State(), stream, _at(2000))
    after, mixed_told = step.step(rule, state.State(), mixed, _at(2000))
    assert dataclasses.replace(after, judged_at=plain.judged_at) == plain
    assert [one for one in mixed_told if one.kind is not state.Kind.RECORDED] == list(told)


def test_excursion_dated_at_the_end_of_a_hold_that_the_clock_has_ended():
    """The clock ended it at 31 s; a reading of exactly that moment, which arrives later, begins an episode."""
    rule = _rule(fire_above=50, clear_below=45, keep_firing_for_s=30)
    after, told = _told(rule, _read(0, 60), _read(1, 30), now=_at(32))
    assert told == [("fired", 0), ("resolved", 31)]
    after, told = _told(rule, _read(31, 60, received_at=_at(34)), before=_through_json(after))
    assert (told, after.opened_at) == ([("fired", 31)], _at(31))


@pytest.mark.parametrize(("value", "kind"), [(90, "fired"), (20, "resolved")])
def test_a_value_that_was_filled_in_counts_as_if_it_had_been_there(value, kind):
    """A reading without it, of the same time or later, has been judged meanwhile."""
    rule = _rule()
    before, _ = _told(rule, _read(0, 20 if kind == "fired" else 90), _read(5, None), _read(7, None))
    if kind == "fired":
        before = dataclasses.replace(before, judged_at=_at(7), valued_at=_at(0))
    after, told = _told(rule, _read(5, value, received_at=_at(8)), before=_through_json(before))
    assert told == [(kind, 5)]
    assert after.judged_at == _at(7)
    again = _told(rule, _read(5, value, received_at=_at(8), again=True), before=_through_json(after))
    assert again == (after, [])


def test_a_word_on_charging_that_was_filled_in_ends_the_alert():
    rule = _rule(fire_above=None, clear_below=None, fire_below=15, clear_above=20, clear_when_charging=True)
    before, _ = _told(rule, _read(0, 10), _read(5, 9))
    filled = _read(5, 9, charging=True, worded=True, received_at=_at(6))
    assert _told(rule, filled, before=_through_json(before))[1] == [("resolved", 5)]
    assert _told(rule, filled._replace(charging=False), before=_through_json(before))[1] == []


def test_a_value_that_was_filled_in_two_hours_later_is_late():
    before, _ = _told(_rule(), _read(0, 90), _read(5, None))
    after, told = _told(_rule(), _read(5, 20, received_at=_at(7200)), before=before)
    assert (told, after.phase) == ([], state.Phase.FIRING)


def test_state_of_an_earlier_version_is_understood():
    """What it says is what has been judged, of every field."""
    text = '{"phase": "firing", "watches": "battery_temp_c >", "judged_at": "2026-03-02T12:00:05Z", "count": 0,'
    text += '"opened_at": "2026-03-02T12:00:00Z", "last_seen_at": "2026-03-02T12:00:05Z", "peak_value": 90.0}'
    old = state.State.from_text(text)
    assert _told(_rule(), _read(5, 20), before=old)[1] == []
    assert _told(_rule(), _read(6, 20), before=old)[1] == [("resolved", 6)]
