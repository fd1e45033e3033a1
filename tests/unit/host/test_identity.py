"""Which process a daemon is, and whether another one can still be alive."""

import os
import subprocess
import sys

import pytest

from voltd.host import identity
from voltd.host.identity import Liveness

ME = identity.own()


def test_there_and_back():
    assert identity.parse(ME.facts()) == ME


@pytest.mark.parametrize(
    "change",
    [
        {"run": ""}, {"run": None}, {"run": "x" * 300}, {"host": "a\nb"}, {"pid": -1}, {"pid": "7"}, {"pid": True},
        {"pid": 1 << 70}, {"started_at": "yesterday"}, {"started_at": "2026-01-01T00:00:00"}, {"ticks": 0.5},
        {"boot": 1},
    ],
)  # fmt: skip
def test_what_is_no_identity(change):
    """Anybody may write such JSON."""
    assert identity.parse({**ME.facts(), **change}) is None


@pytest.mark.parametrize("facts", [None, [], "text", 7, {}])
def test_what_is_not_even_an_object(facts):
    assert identity.parse(facts) is None


@pytest.fixture
def ended():
    """The number of a process that was there."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_killed_on_this_machine(ended):
    assert identity.liveness(ME._replace(run="r", pid=ended), ME) is Liveness.DEAD


def test_number_given_to_another_process():
    """The same number, another start."""
    assert identity.liveness(ME._replace(run="r", pid=os.getppid(), ticks=1), ME) is Liveness.DEAD


def test_alive_on_this_machine():
    assert identity.liveness(ME._replace(run="r"), ME) is Liveness.HERE


def test_in_another_container_of_this_machine(ended):
    """Its number says nothing here."""
    other = ME._replace(run="r", pid=ended, namespace="pid:[1]", host="container")
    assert identity.liveness(other, ME) is Liveness.HERE


def test_before_this_machine_was_started_again():
    other = ME._replace(run="r", boot="earlier", machine="m")
    assert identity.liveness(other, ME._replace(machine="m")) is Liveness.DEAD


@pytest.mark.parametrize("hidden", ["both", "theirs", "ours"])
def test_boot_hidden_by_the_service_manager(hidden, ended):
    """The machine and its name stand in for it; without the machine nothing is known."""
    other = ME._replace(run="r", pid=ended, machine="m", boot="" if hidden != "ours" else ME.boot)
    me = ME._replace(machine="m", boot="" if hidden != "theirs" else ME.boot)
    assert identity.liveness(other, me) is Liveness.DEAD
    assert identity.liveness(other._replace(machine=""), me._replace(machine="")) is Liveness.ELSEWHERE


def test_on_another_machine():
    """Also on a clone, whose machine id is the same."""
    assert identity.liveness(ME._replace(run="r", boot="other", host="far"), ME) is Liveness.ELSEWHERE
