"""Whether the ends of connections speak for another client with the same client id."""

from voltd.pipeline.consume.client_id.closes import Closes


def _after(*ends):
    closes = Closes()
    for now, stood_s, taken_over in ends:
        closes.note(now, stood_s=stood_s, taken_over=taken_over)
    return closes.contested, closes.hopeless


def test_one_alone_says_nothing():
    assert _after((0.0, 0.1, True)) == (False, False)


def test_two_right_after_they_were_accepted():
    """Whatever reason the broker gives."""
    assert _after((0.0, 0.1, False), (2.0, 0.1, False)) == (True, False)


def test_two_that_lasted():
    assert _after((0.0, 900.0, False), (50.0, 40.0, False)) == (False, False)


def test_taken_over_after_a_long_time():
    assert _after((0.0, 900.0, True), (50.0, 40.0, True)) == (True, False)


def test_far_apart():
    assert _after((0.0, 0.1, False), (61.0, 0.1, False)) == (False, False)


def test_a_tug_of_war_that_nobody_answers_for():
    """Six times within a minute, by the broker's own word: that is no accident."""
    assert _after(*[(3.0 * number, 0.1, True) for number in range(6)]) == (True, True)
    assert _after(*[(3.0 * number, 0.1, False) for number in range(20)]) == (True, False)
