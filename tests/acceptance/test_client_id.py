"""Two daemons with one client id: the newcomer finds the other one alive, and disturbs nobody."""

import harness

LIMIT_S = 20


def _same(make_daemon, daemon, **settings):
    """Another daemon with the client id of this one."""
    other = make_daemon(**settings)
    other.env = {**other.env, "VOLTD_MQTT__CLIENT_ID": f"voltd-{daemon.name}"}
    return other


def _ends(daemon, within_s=LIMIT_S):
    harness.wait_for(lambda: daemon.process.poll() is not None, within_s, "the end of the newcomer")
    return daemon.process.returncode


def _undisturbed(daemon):
    assert daemon.process.poll() is None
    assert daemon.events("broker.connected") == 1
    assert not daemon.events("broker.disconnected") + daemon.events("broker.session_taken_over")


def test_second_daemon_with_the_same_client_id(daemon, make_daemon):
    """It ends with 78 and names the other; the one that was there notices nothing, also when it is restarted."""
    other = _same(make_daemon, daemon)
    for _ in range(3):
        other.start(wait=False)
        assert _ends(other) == 78
        assert other.events("broker.connected") == 0
    said = other.log()
    status = daemon.status()
    assert f"host {status['host']}, pid {daemon.process.pid}, started {status['started_at']}" in said
    _undisturbed(daemon)
