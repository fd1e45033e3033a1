"""Who has made no progress, and what is done about it."""

import time

from voltd import stalls


def test_freed_once_per_limit_and_stalled_only_later():
    """A thread behind a silent server is freed first; only one that stays is worth a restart."""
    freed = []
    beats = {"flush": time.monotonic() - 10, "network": time.monotonic()}
    made = stalls.Stalls()
    made.add(stalls.Watched("flush", lambda: beats["flush"], 100.0, lambda: freed.append("flush"), 5.0))
    made.add(stalls.Watched("network", lambda: beats["network"], 30.0))
    assert made.look() is None
    assert made.look() is None
    assert freed == ["flush"], "not again until as long has passed once more"
    beats["flush"] -= 100
    assert made.look() == "flush"
    beats["flush"] = time.monotonic()
    beats["network"] -= 31
    assert made.look() == "network"
