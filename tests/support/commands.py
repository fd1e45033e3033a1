"""``voltd``'s commands as processes of their own, forked from one that has imported voltd already.

A start from nothing is half a second of computing, a daemon's nearly a whole one, and the tests start hundreds. The
demo, what the README tells to type, and the daemon of ``acceptance/test_main_job.py`` start as users start them.
"""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import connection

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        "voltd.cli",
        "voltd.daemon.app",
        "voltd.commands.check",
        "voltd.daemon.status",
        "voltd.commands.dead_letters",
        "voltd.commands.alerts",
        "voltd.commands.rules",
    ]
)

_lock = threading.Lock()  # a start looks at how earlier ones have ended; only one thread may


class Running:
    """A command that has been started, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, process, words):
        self.pid = process.pid
        self._process, self._words = process, words

    @property
    def returncode(self):
        return self.poll()

    def poll(self):
        """Its exit code, the negative signal where one ended it; None while it runs."""
        with _lock:
            return self._process.exitcode

    def wait(self, timeout=None):
        if not connection.wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired(self._words, timeout)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def start(words, env, log):
    """Starts ``voltd WORDS`` with this environment; what it says is appended to the file ``log``."""
    with _lock:
        process = _forks.Process(target=_command, args=(words, dict(env), [log, log]), daemon=True)
        process.start()
    return Running(process, ["voltd", *words])


def run(words, env, timeout_s=120.0):
    """Runs ``voltd WORDS`` with this environment and an empty standard input; a ``CompletedProcess`` with text.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    words = [str(word) for word in words]
    with tempfile.TemporaryDirectory(prefix="voltd-test-command-") as folder:
        said = [pathlib.Path(folder, name) for name in ("stdout", "stderr")]
        with _lock:
            process = _forks.Process(target=_command, args=(words, dict(env), said))
            process.start()
        late = not connection.wait([process.sentinel], timeout_s)
        if late:
            process.kill()
            connection.wait([process.sentinel])
        with _lock:
            process.join()
            code = process.exitcode
            process.close()
        stdout, stderr = (path.read_text() if path.exists() else "" for path in said)
    if late:
        raise subprocess.TimeoutExpired(["voltd", *words], timeout_s, stdout, stderr)
    return subprocess.CompletedProcess(["voltd", *words], code, stdout, stderr)


def _command(words, env, said):
    """In the new process."""
    from voltd import cli  # noqa: PLC0415 whoever starts commands need not import them

    for descriptor, path in enumerate(said, 1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["voltd", *words]
    sys.exit(cli.main())
