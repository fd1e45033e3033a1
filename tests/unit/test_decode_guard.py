"""The guard stops a broken fleet, not a fleet with a broken device."""

import datetime as dt

import pytest

from voltd import config, models
from voltd.pipeline import decode, decode_guard

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
DECODER = decode.Decoder(config.Topics(), config.Limits(), 90)


def batch(text, devices=50):
    """A batch from a picture: g a good message, b a bad one, each from the next device."""
    bodies = {"g": b'{"timestamp":"2026-05-01T00:00:00Z","soc":5}', "b": b"rubbish"}
    return DECODER.decode(
        [
            models.Message(f"volt/vehicle/V{number % devices}/telemetry", bodies[kind], number, NOW)
            for number, kind in enumerate(text)
        ]
    )


def guard(**limits):
    return decode_guard.DeadLetterGuard(config.DeadLetters(**{"ratio_over": 100, "max_run": 0, **limits}))


def test_share_of_the_last_messages():
    """Above the ratio, and only once as many messages as it is taken over have been seen."""
    made = guard(max_ratio=0.5)
    assert made.judge(batch("b" * 99)) is None
    assert "100%" in made.judge(batch("b"))
    made.reset()
    for _ in range(10):
        assert made.judge(batch("gb" * 30)) is None
    assert "dead_letters.max_ratio = 0.5" in made.judge(batch("b" * 60))


def test_old_messages_are_forgotten():
    """A bad hour in the past does not count against the present."""
    made = guard(max_ratio=0.5)
    made.judge(batch("b" * 90))
    for _ in range(3):
        answer = made.judge(batch("g" * 60))
    assert answer is None
    assert made.judge(batch("b" * 40 + "g" * 20)) is None


@pytest.mark.parametrize(
    ("pictures", "stops"),
    [(["b" * 20], True), (["b" * 19], False), (["b" * 12, "b" * 8], True), (["b" * 12 + "g", "b" * 19], False),
     (["gb" * 50], False), (["g" + "b" * 15, "b" * 5], True)],
)  # fmt: skip
def test_run_length(pictures, stops):
    """As many in a row, across batches; one good message ends the run."""
    made = guard(max_ratio=1.0, max_run=20)
    assert (["max_run" in (made.judge(batch(picture)) or "") for picture in pictures][-1]) is stops


def test_one_broken_device_does_not_stop_the_fleet():
    """However much a single topic publishes, the others go on."""
    made = guard(max_ratio=0.1, max_run=20)
    assert made.judge(batch("b" * 500, devices=1)) is None
    assert made.judge(batch("b" * 500, devices=9)) is None
    assert made.judge(batch("b" * 500, devices=20)) is not None


def test_an_array_with_a_good_element_is_good():
    """Only messages without any reading are bad."""
    body = b'[{"timestamp":"2026-05-01T00:00:00Z","soc":5}, {"soc":1000}]'
    messages = [models.Message(f"volt/vehicle/V{n}/telemetry", body, n, NOW) for n in range(200)]
    assert guard(max_ratio=0.01, max_run=20).judge(DECODER.decode(messages)) is None


def test_history_is_not_rubbish():
    """Somebody who replays readings that are too old does not stop the fleet."""
    body = b'{"timestamp":"2021-05-01T00:00:00Z","soc":5}'
    messages = [models.Message(f"volt/vehicle/V{n}/telemetry", body, n, NOW) for n in range(200)]
    assert guard(max_ratio=0.01, max_run=20).judge(DECODER.decode(messages)) is None
