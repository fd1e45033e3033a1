"""``voltd``'s commands as processes of their own, forked from one that has imported voltd already.

A start from nothing is half a second of computing, a daemon's nearly a whole one, and the tests start hundreds. The
demo, what the README tells to type, and the daemon of ``acceptance/test_main_job.py`` start as users start them.
"""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import connection, context
from typing import NoReturn

_forks = multiprocessing.get_context("forkserver")
_COMMANDS = ("run", "migrate", "check", "status", "dead_letters", "alerts", "rules", "devices", "simulate", "replay")
_forks.set_forkserver_preload(["voltd.cli", *(f"voltd.commands.{name}" for name in _COMMANDS)])

_lock = threading.Lock()  # a start looks at how earlier ones have ended; only one thread may


class Running:
    """A command that has been started, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, process: context.ForkServerProcess, words: list[str]) -> None:
        self.pid: int = process.pid or 0  # it has been started
        self._process, self._words = process, words

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """Its exit code, the negative signal where one ended it; None while it runs."""
        with _lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        if not connection.wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired(self._words, timeout or 0.0)
        ended = self.poll()
        assert ended is not None
        return ended

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since; it is the fork server's child
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: Sequence[object], env: Mapping[str, str], stdout: pathlib.Path, stderr: pathlib.Path) -> Running:
    """Starts ``voltd WORDS`` with this environment and an empty standard input; appends what it says to these files."""
    texts = [str(word) for word in words]
    with _lock:
        process = _forks.Process(target=_command, args=(texts, dict(env), (stdout, stderr)), daemon=True)
        process.start()
    return Running(process, ["voltd", *texts])


def kill_all() -> None:
    """Ends what is left: the interpreter would wait without limit for one that is stopped."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def run(words: Sequence[object], env: Mapping[str, str], timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Runs ``voltd WORDS`` with this environment and an empty standard input; a ``CompletedProcess`` with text.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory(prefix="voltd-test-command-") as folder:
        said = [pathlib.Path(folder, name) for name in ("stdout", "stderr")]
        running = start(words, env, *said)
        try:
            code = running.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            running.kill()
            running.wait()
            raise subprocess.TimeoutExpired(late.cmd, late.timeout, *_read(said)) from None
        return subprocess.CompletedProcess(["voltd", *map(str, words)], code, *_read(said))


def _read(paths: Sequence[pathlib.Path]) -> list[str]:
    return [path.read_text() if path.exists() else "" for path in paths]


def _command(words: list[str], env: Mapping[str, str], said: Sequence[pathlib.Path]) -> NoReturn:
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
