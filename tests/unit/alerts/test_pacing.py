"""When a channel sends: never before its time, never too often, and in order."""

import hypothesis
from hypothesis import strategies as st

from voltd.alerts import pacing

LIMITS = pacing.Pace(30.0, 60)
WAIT, AGAIN, NEW = pacing.Action.WAIT, pacing.Action.AGAIN, pacing.Action.NEW

limits = st.builds(
    pacing.Pace,
    st.floats(0, 120),
    st.none() | st.integers(1, 100),
    st.floats(0, 60),
)
waitings = st.builds(
    pacing.Waiting,
    st.none() | st.sampled_from("abc"),
    st.integers(0, 500),
    st.booleans(),
    st.floats(0, 1000),
    st.none() | st.floats(0, 100_000),
    st.integers(0, 200),
)


def test_nothing_waits():
    assert pacing.decide(pacing.Waiting(), LIMITS) == (WAIT, float("inf"))


def test_gathering():
    """A message leaves when its oldest row is old enough, and says when that is."""
    assert pacing.decide(pacing.Waiting(oldest_s=29.0), LIMITS) == (WAIT, 1.0)
    assert pacing.decide(pacing.Waiting(oldest_s=30.0), LIMITS) == (NEW, 0.0)
    assert pacing.decide(pacing.Waiting(oldest_s=0.0), LIMITS._replace(group_s=0.0)) == (NEW, 0.0)


def test_an_attempt_that_may_be_under_way():
    """It is left alone until its lease is over, new settings or not."""
    waiting = pacing.Waiting("a", 1, failed=False, tried_s=29.0)
    assert pacing.decide(waiting, LIMITS, fresh=True) == (WAIT, 1.0)
    assert pacing.decide(waiting._replace(tried_s=30.0), LIMITS) == (AGAIN, 0.0)


def test_fresh_settings():
    """A message that failed is tried at once."""
    waiting = pacing.Waiting("a", 9, failed=True, tried_s=0.1)
    assert pacing.decide(waiting, LIMITS).action is WAIT
    assert pacing.decide(waiting, LIMITS, fresh=True) == (AGAIN, 0.0)


@hypothesis.given(st.integers(1, 10_000), st.text(max_size=5))
def test_pauses(attempts, seed):
    """They double from a second to five minutes, with jitter that looking again does not change."""
    ceiling = min(300.0, 2.0 ** min(attempts - 1, 20))
    pause = pacing.pause_s(attempts, seed)
    assert ceiling / 2 <= pause <= ceiling
    assert pacing.pause_s(attempts, seed) == pause


@hypothesis.given(waitings, limits, st.booleans())
def test_any_outbox(waiting, bounds, fresh):
    """What failed goes first; nothing goes early or beyond the limit; each wait has its length."""
    action, wait_s = pacing.decide(waiting, bounds, fresh=fresh)
    assert (wait_s > 0) == (action is WAIT)
    full = bounds.max_per_hour is not None and waiting.sent_in_hour >= bounds.max_per_hour
    if action is not WAIT:
        assert not full
    if action is NEW:
        assert waiting.claimed is None
        assert waiting.oldest_s >= bounds.group_s
    if action is AGAIN:
        assert waiting.claimed is not None
        if not (fresh and waiting.failed):
            pause_s = pacing.pause_s(waiting.attempts, waiting.claimed)
            assert waiting.tried_s >= (pause_s if waiting.failed else bounds.lease_s)
    if action is WAIT and wait_s == float("inf"):
        assert full or (waiting.claimed is None and waiting.oldest_s is None)


@hypothesis.given(
    st.lists(st.floats(0, 400), min_size=1, max_size=30),
    st.floats(0, 60),
    st.integers(1, 10),
    st.floats(0, 2000),
)
@hypothesis.settings(max_examples=50)
def test_a_day_of_a_channel(arrivals, group_s, max_per_hour, down_until):
    """Simulated: every row goes out once, in order, no hour has too many, and a broken channel sees few probes."""
    bounds = pacing.Pace(group_s, max_per_hour)
    waiting, claimed, sent, probes, now = sorted(arrivals), None, [], [], 0.0
    order = []
    while (waiting or claimed) and now < 200_000:
        arrived = [at for at in waiting if at <= now]
        known = pacing.Waiting(
            claimed and claimed[0],
            len(probes) if claimed else 0,
            failed=True,
            tried_s=now - probes[-1] if probes else 0.0,
            oldest_s=now - arrived[0] if arrived else None,
            sent_in_hour=sum(now - at < 3600 for at in sent),
        )
        action, wait_s = pacing.decide(known, bounds)
        if action is WAIT:
            now += min(max(wait_s, 1e-3), 5.0)
            continue
        if action is NEW:
            claimed = (f"m{now}", arrived)
            waiting = [at for at in waiting if at > now]
        if now < down_until:
            probes.append(now)
        else:
            order += claimed[1]
            sent.append(now)
            claimed, probes = None, []
    assert order == sorted(arrivals)
    for at in sent:
        assert sum(0 <= at - other < 3600 for other in sent) <= max_per_hour
