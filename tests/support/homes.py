"""Where the tests' servers live."""

import contextlib
import os
import pathlib
import secrets
import shutil
import tempfile

_MEMORY = pathlib.Path("/dev/shm")  # noqa: S108 only a folder with a name of its own is made in it
_NEEDED_BYTES = 2 * 2**30  # by each of the workers, which all ask before any has written


def _has_room() -> bool:
    """Whether the folder may grow by so much, and the machine has the memory for it."""
    needed = _NEEDED_BYTES * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    facts = dict(line.split(":", 1) for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    available = int(facts["MemAvailable"].split()[0]) * 1024
    return os.access(_MEMORY, os.W_OK) and min(shutil.disk_usage(_MEMORY).free, available) >= needed


def new(purpose: str) -> pathlib.Path:
    """A home, not yet made, that the servers' own user can reach: pytest's temporary folders are closed to others.

    In memory where that has room: each test makes a database of 1,500 files and drops it, and on ext4 the search for
    free inodes is a quarter of all that the tests compute.
    """
    name = f"voltd-test-{purpose}-{secrets.token_hex(6)}"
    with contextlib.suppress(OSError):
        if _has_room():
            return _MEMORY / name
    return pathlib.Path(tempfile.gettempdir(), name)
