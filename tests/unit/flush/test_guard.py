"""The guard stops a broken fleet, not a fleet with a broken device."""

import datetime as dt
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from voltd import config, models
from voltd.pipeline.decode import decoder
from voltd.pipeline.flush import circuit_breaker

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
DECODER = decoder.Decoder(config.Topics(), config.Limits(), 90)


def batch(text, devices=50):
    """A batch from a picture: g a good message, b a bad one, f of bad fields alone, each from the next device."""
    head = b'{"timestamp":"2026-05-01T00:00:00Z",'
    bodies = {"g": head + b'"soc":5}', "b": b"malformed", "f": head + b'"soc":101,"speed":"fast"}'}
    return DECODER.decode(
        [
            models.Message(f"volt/vehicle/V{number % devices}/telemetry", bodies[kind], number, NOW)
            for number, kind in enumerate(text)
        ]
    )


def guard(**limits):
    return circuit_breaker.CircuitBreaker(config.DeadLetters(**{"ratio_over": 100, "max_run": 0, **limits}))


def test_share_of_the_last_messages():
    """Above the ratio, and only once as many messages as it is taken over have been seen."""
    made = guard(max_ratio=0.5)
    assert made.evaluate(batch("b" * 99)) is None
    assert "100%" in made.evaluate(batch("b"))
    made.reset()
    for _ in range(10):
        assert made.evaluate(batch("gb" * 30)) is None
    assert "dead_letters.max_ratio = 0.5" in made.evaluate(batch("b" * 60))


def test_old_messages_are_forgotten():
    """A bad hour in the past does not count against the present."""
    made = guard(max_ratio=0.5)
    made.evaluate(batch("b" * 90))
    for _ in range(3):
        answer = made.evaluate(batch("g" * 60))
    assert answer is None
    assert made.evaluate(batch("b" * 40 + "g" * 20)) is None


@pytest.mark.parametrize(
    ("pictures", "stops"),
    [(["b" * 20], True), (["b" * 19], False), (["b" * 12, "b" * 8], True), (["b" * 12 + "g", "b" * 19], False),
     (["gb" * 50], False), (["g" + "b" * 15, "b" * 5], True)],
)  # fmt: skip
def test_run_length(pictures, stops):
    """As many in a row, across batches; one good message ends the run."""
    made = guard(max_ratio=1.0, max_run=20)
    assert (["max_run" in (made.evaluate(batch(picture)) or "") for picture in pictures][-1]) is stops


def test_one_broken_device_does_not_stop_the_fleet():
    """However much a single topic publishes, the others go on."""
    made = guard(max_ratio=0.1, max_run=20)
    assert made.evaluate(batch("b" * 500, devices=1)) is None
    assert made.evaluate(batch("b" * 500, devices=9)) is None
    assert made.evaluate(batch("b" * 500, devices=20)) is not None


def test_an_array_with_a_good_element_is_good():
    """Only messages without any reading are bad."""
    body = b'[{"timestamp":"2026-05-01T00:00:00Z","soc":5}, {"soc":1000}]'
    messages = [models.Message(f"volt/vehicle/V{n}/telemetry", body, n, NOW) for n in range(200)]
    assert guard(max_ratio=0.01, max_run=20).evaluate(DECODER.decode(messages)) is None


def test_history_is_not_malformed():
    """Somebody who replays readings that are too old does not stop the fleet."""
    body = b'{"timestamp":"2021-05-01T00:00:00Z","soc":5}'
    messages = [models.Message(f"volt/vehicle/V{n}/telemetry", body, n, NOW) for n in range(200)]
    assert guard(max_ratio=0.01, max_run=20).evaluate(DECODER.decode(messages)) is None


def test_what_is_malformed_beside_history_is_malformed():
    """One element that is too old does not excuse the others."""
    body = b'[{"timestamp":"2021-05-01T00:00:00Z","soc":5}, {"soc":1000}]'
    messages = [models.Message(f"volt/vehicle/V{n}/telemetry", body, n, NOW) for n in range(200)]
    assert guard(max_ratio=0.01, max_run=20).evaluate(DECODER.decode(messages)) is not None


def test_each_limit_can_be_switched_off():
    """max_ratio = 1.0 and max_run = 0: nothing but dead letters never stops anything."""
    made = guard(max_ratio=1.0, max_run=0, ratio_over=100, least_topics=1)
    assert all(made.evaluate(batch("b" * 300)) is None for _ in range(20))


def test_an_admin_who_has_looked_gets_a_new_count():
    """After reset neither the run nor the share of before counts."""
    made = guard(max_ratio=0.5, max_run=30, ratio_over=100)
    assert made.evaluate(batch("b" * 200)) is not None
    made.reset()
    assert made.evaluate(batch("b" * 29)) is None
    assert made.evaluate(batch("g" + "b" * 29)) is None


class NoLook(list):
    """Messages that may be counted but not looked at."""

    def __iter__(self):
        raise AssertionError("looked at the messages of a clean batch")

    __getitem__: Any = __iter__


def test_a_clean_batch_is_free():
    """Without dead letters no message is looked at, however many there are."""
    clean = batch("g" * 50)
    clean.messages = NoLook(clean.messages)
    clean.vehicle_sources = NoLook(clean.vehicle_sources)
    assert guard(max_ratio=0.1, max_run=5).evaluate(clean) is None


def expected(seen, *, max_ratio, ratio_over, max_run, least_topics):
    """The limits by their definition, over all (kind, topic) of all batches since the start."""
    flat = [message for one in seen for message in one]
    last_good = max((at for at, (kind, _) in enumerate(flat) if kind == "g"), default=-1)
    run = flat[last_good + 1 :]
    if max_run and len(run) >= max_run and len({topic for _, topic in run}) >= least_topics:
        return "max_run"
    recent = []
    for one in reversed(seen):
        if len(recent) >= ratio_over:
            break
        recent = one + recent
    bad = {topic for kind, topic in recent if kind == "b"}
    share = sum(kind == "b" for kind, _ in recent) / max(1, len(recent))
    return "max_ratio" if len(recent) >= ratio_over and share > max_ratio and len(bad) >= least_topics else None


@hypothesis.given(
    pictures=st.lists(st.text("gbbb", min_size=1, max_size=60), min_size=1, max_size=25),
    devices=st.integers(1, 8),
    max_ratio=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    max_run=st.integers(0, 60),
    least_topics=st.integers(1, 8),
)
def test_the_limits_are_what_they_say(pictures, devices, max_ratio, max_run, least_topics):
    """However messages fall into batches, it stops exactly where the definition says, and names the limit."""
    limits = {"max_ratio": max_ratio, "max_run": max_run, "least_topics": least_topics}
    made = guard(ratio_over=100, **limits)
    seen = []
    for picture in pictures:
        one = batch(picture, devices)
        seen.append([(kind, message.topic) for kind, message in zip(picture, one.messages, strict=True)])
        answer, limit = made.evaluate(one), expected(seen, ratio_over=100, **limits)
        assert (answer is None) == (limit is None)
        assert limit is None or limit in answer


def test_the_share_is_taken_over_the_last_messages_alone():
    """As soon as ratio_over newer messages are there, the ones before do not dilute them."""
    made = guard(max_ratio=0.5)
    assert made.evaluate(batch("g" * 100)) is None
    assert made.evaluate(batch("b" * 60 + "g" * 40)) is not None


def test_topics_are_forgotten_with_their_messages():
    """Many broken devices long ago do not make the one that is broken now a broken fleet."""
    made = guard(max_ratio=0.5)
    assert made.evaluate(batch("b" * 20 + "g" * 80)) is None
    assert [made.evaluate(batch("b" * 100, devices=1)) for _ in range(2)] == [None, None]


def test_messages_of_bad_fields_alone():
    """Their dead letters are by field; each message counts once."""
    assert "50%" in guard(max_ratio=0.4).evaluate(batch("gf" * 50))
    assert guard(max_ratio=0.5).evaluate(batch("gf" * 50)) is None
