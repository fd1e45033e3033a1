"""Many readings into the newest known state: order and repetition change nothing."""

import datetime as dt
import random

from hypothesis import given
from hypothesis import strategies as st

from voltd import models
from voltd.pipeline.current import newest
from voltd.pipeline.current.newest import Segment

T0 = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def meter(second, *values, device="M1", received=0):
    arrived = T0 + dt.timedelta(seconds=received)
    return models.MeterReading._make([device, T0 + dt.timedelta(seconds=second), *values, None, None, None, arrived])


def test_a_field_that_the_newer_reading_lacks_keeps_its_value():
    rows = [
        Segment([meter(1, 1.0, None, 230.0, None, None, received=5)], live=True),
        Segment([meter(3, None, None, None, 7.0, None, received=6)], live=True),
        Segment([meter(2, 2.0, None, None, None, None, received=7)], live=False),
    ]
    (state,) = newest.states(rows, newest.places(models.DeviceType.METER))
    at = [T0 + dt.timedelta(seconds=second) for second in range(8)]
    assert state == ("M1", at[3], 2.0, at[2], None, None, 230.0, at[1], 7.0, at[3], *[None] * 8, at[6])


def test_only_retained_readings_are_no_sign_of_life():
    (state,) = newest.states(
        [Segment([meter(1, 1.0, *[None] * 4)], live=False)], newest.places(models.DeviceType.METER)
    )
    assert state[-1] is None


def test_position_is_a_pair():
    """Latitude and longitude come from one reading, never from two."""
    values = dict.fromkeys(models.VehicleReading._fields)
    base = values | {"vehicle_id": "V1", "received_at": T0}
    both = models.VehicleReading(**base | {"recorded_at": T0, "latitude": 1.0, "longitude": 2.0})
    half = models.VehicleReading(**base | {"recorded_at": T0 + dt.timedelta(seconds=1), "latitude": 9.0})
    (state,) = newest.states([Segment([both, half], live=True)], newest.places(models.DeviceType.VEHICLE))
    assert state[12:15] == (1.0, 2.0, T0)


VALUE = st.none() | st.floats(0, 10)


@given(
    rows=st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9), *[VALUE] * 5), unique_by=lambda row: row[:2]),
    seed=st.integers(),
)
def test_order_and_repetition_change_nothing(rows, seed):
    """Any order and any number of copies of distinct readings give the same state."""
    readings = [meter(second, *values, device=device) for device, second, *values in rows]
    mixed = readings + readings[::2]
    random.Random(seed).shuffle(mixed)
    fields = newest.places(models.DeviceType.METER)
    folded = [newest.states([Segment(some, live=True)], fields) for some in (mixed, readings)]
    by_device = [{state[0]: state for state in states} for states in folded]
    assert by_device[0] == by_device[1]
