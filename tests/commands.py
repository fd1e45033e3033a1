"""``voltd``'s commands as processes of their own, forked from one that has imported voltd already.

A start from nothing is half a second of computing, and the tests run hundreds of commands. A daemon (``voltd run``) is
started as users start it, by ``harness.Daemon``; so are the demo and what the README tells to type.
"""

import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import connection

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["voltd.cli", "voltd.check", "voltd.status", "voltd.dead_letters", "voltd.alerts.commands", "voltd.rules.commands"]
)

_lock = threading.Lock()  # a start looks at how earlier ones have ended; only one thread may


def run(words, env, timeout_s=60.0):
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
