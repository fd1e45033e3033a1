"""A process is ours by program and by the file on its command line; nothing else is signalled."""

import os
import pathlib
import signal
import stat
import subprocess
import sys

import pytest

from voltd import errors
from voltd.local import process

PYTHON = pathlib.Path(os.path.realpath(sys.executable)).name


@pytest.fixture
def sleeper(tmp_path):
    """A process with our folder on its command line; deaf to SIGTERM."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([os.path.realpath(sys.executable), "-c", code, tmp_path], stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        yield running
        running.kill()


def test_found_by_program_and_argument(sleeper, tmp_path):
    assert process.find([PYTHON], tmp_path) == [sleeper.pid]


def test_other_programs_and_other_folders_are_not_ours(sleeper, tmp_path):
    assert process.find(["postgres"], tmp_path) == []
    assert process.find([PYTHON], tmp_path / "other") == []
    assert process.find([PYTHON], tmp_path.parent) == []
    assert sleeper.poll() is None


def test_end_takes_the_next_step_where_one_did_not_help(sleeper, tmp_path):
    process.end([PYTHON], tmp_path, [(signal.SIGTERM, 0.2), (signal.SIGKILL, 10)])
    assert sleeper.wait(10) == -signal.SIGKILL


def test_output_of_a_command_that_leaves_a_child_behind_does_not_block():
    done = process.run(["sh", "-c", "echo said; sleep 5 &"], process.Account(0, 0, switch=False), timeout_s=3)
    assert (done.returncode, done.stdout) == (0, "said\n")


def test_home_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(errors.VoltdError, match="did not make"):
        process.claim(tmp_path)


def test_home_is_claimed_once_and_again(tmp_path):
    process.claim(tmp_path / "new/home")
    (tmp_path / "new/home/data").touch()
    process.claim(tmp_path / "new/home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as somebody else")
def test_home_that_the_servers_user_cannot_reach_is_refused(tmp_path):
    tmp_path.chmod(stat.S_IRWXU)
    with pytest.raises(errors.VoltdError, match="cannot reach"):
        process.hand_over(tmp_path / "home", process.account())


def test_tail_of_a_log_that_is_not_there(tmp_path):
    assert "no log" in process.tail(tmp_path / "x.log")
