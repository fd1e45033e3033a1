"""A disk with little room: a tmpfs over a folder, for as long as a fault lasts. Needs root.

Knows nothing of what is in the folder; whoever uses it must be stopped when it is moved there and back.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile


class NotPossible(Exception):
    """This machine cannot do such a fault; the text says why."""


@contextlib.contextmanager
def over(folder, room_bytes):
    """Moves a folder to a disk with so much room, and back at the end; yields a function that gives it that much more.

    Raises:
        NotPossible: this machine does not let us mount.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    with tempfile.TemporaryDirectory(prefix="voltd-test-faults-disk-") as side:
        _mount("-t", "tmpfs", "-o", f"size={used + room_bytes},mode=700", "tmpfs", side)
        with contextlib.ExitStack() as mounts:
            mounts.callback(_umount, side)
            _copy(folder, side)
            _mount("--bind", side, str(folder))
            mounts.callback(_umount, str(folder))
            yield lambda more: _mount("-o", f"remount,size={used + room_bytes + more}", side)
            _umount(str(folder))
            _copy(side, folder)


def _mount(*words):
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossible(f"cannot mount a small disk here: {done.stderr.strip()}")


def _umount(folder):
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def _copy(source, sink):
    """Makes ``sink`` hold what ``source`` holds, owners and all."""
    for entry in os.scandir(sink):
        shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else pathlib.Path(entry).unlink()
    subprocess.run(["cp", "-a", f"{source}/.", str(sink)], check=True)
