"""Who has made no progress."""

import time

from voltd.daemon import watchdog


def test_a_thread_without_progress():
    """Each has a limit of its own; one that makes progress again has not stalled any more."""
    now = time.monotonic()
    beats = {"flush": now - 90, "network": now}
    made = watchdog.Watchdog()
    made.add(watchdog.Watched("flush", lambda: beats["flush"], 100.0))
    made.add(watchdog.Watched("network", lambda: beats["network"], 30.0))
    assert made.look() is None
    beats["flush"] -= 100
    assert made.look() == "flush"
    beats["flush"] = time.monotonic()
    beats["network"] -= 31
    assert made.look() == "network"
