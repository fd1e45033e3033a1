"""Where the tests' servers live."""

import contextlib
import os
import pathlib
import secrets
import shutil
import tempfile

_MEMORY = pathlib.Path("/dev/shm")  # noqa: S108 only a folder with a name of its own is made in it
_NEEDED_BYTES = 8 * 2**30


def new(purpose):
    """A home, not yet made, that the servers' own user can reach: pytest's temporary folders are closed to others.

    In memory where that has room: each test makes a database of 1,500 files and drops it, and on ext4 the search for
    free inodes is a quarter of all that the tests compute.
    """
    name = f"voltd-test-{purpose}-{secrets.token_hex(6)}"
    with contextlib.suppress(OSError):
        if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES:
            return _MEMORY / name
    return pathlib.Path(tempfile.gettempdir(), name)
