"""The notification socket, and the shipped unit file."""

import shutil
import socket
import subprocess

import pytest

from voltd import resources
from voltd.daemon import systemd


def test_states_arrive_at_the_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        notifier = systemd.ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"})
        assert notifier.watchdog_s == 60
        notifier.ready("subscribed")
        notifier.watchdog()
        assert listener.recv(100) == b"READY=1\nSTATUS=subscribed"
        assert listener.recv(100) == b"WATCHDOG=1"
        notifier.close()


def test_without_systemd_nothing_happens():
    notifier = systemd.ServiceManager({})
    notifier.ready("x")
    assert notifier.watchdog_s == 0
    notifier.close()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed on this host")
def test_unit_file_is_clean(tmp_path):
    """systemd-analyze verify has nothing to say about the unit (with the program where this host has one)."""
    unit = tmp_path / "voltd.service"
    text = (resources.share("systemd") / "voltd.service").read_text()
    unit.write_text(text.replace("/opt/voltd/bin/voltd", "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.strip()) == (0, "")
