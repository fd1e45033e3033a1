"""A private copy of Mosquitto and PostgreSQL with TimescaleDB: Debian 13's packages unpacked into the cache.

Called by ``sources``. Needs apt-get, dpkg-deb and a Debian mirror in the host's apt sources, but neither root nor any
change to the system. It is made once and kept. A start that was killed leaves a work folder, from which the next one
continues; only one process makes it at a time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import itertools
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping

from voltd import errors
from voltd.local import apt, elf, interfaces, process

_FORMAT = 1  # counts up when what is in the tree changes
_PACKAGES = ("postgresql-17-timescaledb", "mosquitto", "mosquitto-clients")
_DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/postgresql/17/lib/bitcode")


class NotPossible(Exception):
    """This host cannot have a private tree; the text says why."""


def ready(environ: Mapping[str, str], progress: interfaces.Progress) -> pathlib.Path:
    """The tree's root; makes the tree first if it does not exist (a download of about 40 MB, about 15 s).

    Raises:
        NotPossible: this host has no apt with a Debian mirror.
        VoltdError: no network, a bad signature, no space.
    """
    folder = cache_folder(environ)
    tree = folder / f"debian13-{_FORMAT}-{platform.machine()}"
    if _complete(tree):
        return tree
    mirror = apt.host_mirror()
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb") or mirror is None:
        raise NotPossible("it needs apt-get, dpkg-deb and a Debian mirror in /etc/apt")
    try:
        elf.patchelf()
    except elf.PatchFailed as problem:
        raise NotPossible(str(problem)) from problem
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:  # the servers' user must have access, whatever root's umask is
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
    with _lock(folder / "lock", progress) as lock:
        if not _complete(tree):
            try:
                _make(tree, folder / f"work-{tree.name}", mirror, lock, progress)
            except (apt.AptFailed, elf.PatchFailed, subprocess.CalledProcessError, OSError) as problem:
                raise errors.VoltdError(
                    f"A private copy of the servers could not be made in {folder}: {problem}",
                    hint="Check network and disk space and start again; it continues where it stopped.",
                ) from problem
    return tree


def cache_folder(environ: Mapping[str, str]) -> pathlib.Path:
    """``$XDG_CACHE_HOME/voltd/servers`` or its default; as root a folder that the servers' user can read too."""
    given = environ.get("XDG_CACHE_HOME", "")
    if os.geteuid() == 0:
        if given and _open_to_all(pathlib.Path(given)):
            return pathlib.Path(given, "voltd/servers")
        return pathlib.Path("/var/cache/voltd/servers")
    return pathlib.Path(given or pathlib.Path.home() / ".cache", "voltd/servers")


def _open_to_all(folder: pathlib.Path) -> bool:
    existing = [path for path in (folder, *folder.parents) if path.exists()]
    return all(path.stat().st_mode & stat.S_IXOTH for path in existing)


def _complete(tree: pathlib.Path) -> bool:
    """Whether the tree exists and was made for this path (its programs contain absolute paths)."""
    try:
        return (tree / "made-for").read_text() == str(tree)
    except OSError:
        return False


@contextlib.contextmanager
def _lock(path: pathlib.Path, progress: interfaces.Progress) -> Iterator[int]:
    """Locks the tree for one maker. apt and dpkg-deb inherit the lock, so orphans of a killed maker keep it."""
    with path.open("w") as file:
        waited = 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited % 5 == 0:
                    progress("Another voltd is preparing the servers; waiting for it …")
                time.sleep(0.5)
                waited += 0.5
        yield file.fileno()


def _make(tree: pathlib.Path, work: pathlib.Path, mirror: apt.Mirror, lock: int, progress: interfaces.Progress) -> None:
    progress(f"Servers for a local run are not installed here; making a private copy in {tree}")
    source = apt.Apt(work, mirror, inherit=[lock])
    for line in itertools.chain(source.update(), source.download(_PACKAGES)):
        progress(line)
    unpacked = work / "tree"
    process.remove(unpacked)
    unpacked.mkdir()
    _unpack(sorted(source.archives.glob("*.deb")), unpacked, lock, progress)
    for name in _DROPPED:
        shutil.rmtree(unpacked / name, ignore_errors=True)
    progress("Pointing programs at their libraries …")
    elf.point(unpacked, _programs(unpacked), tree)
    (unpacked / "made-for").write_text(str(tree))
    unpacked.chmod(0o755)
    process.remove(tree)
    unpacked.rename(tree)
    process.remove(work)
    progress("The private copy of the servers is ready; it is kept for the next time")


def _unpack(packages: list[pathlib.Path], into: pathlib.Path, lock: int, progress: interfaces.Progress) -> None:
    def one(package: pathlib.Path) -> None:
        subprocess.run(["dpkg-deb", "-x", str(package), str(into)], check=True, capture_output=True, pass_fds=[lock])

    progress(f"Unpacking {len(packages)} packages …")
    last = time.monotonic()
    packages.sort(key=lambda package: package.stat().st_size, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for count, _ in enumerate(pool.map(one, packages), 1):
            if time.monotonic() - last >= 1 or count == len(packages):
                progress(f"Unpacking {count} of {len(packages)} packages …")
                last = time.monotonic()


def _programs(tree: pathlib.Path) -> Iterator[pathlib.Path]:
    yield from tree.glob("usr/lib/postgresql/*/bin/*")
    yield from tree.glob("usr/bin/mosquitto_*")
    yield tree / "usr/sbin/mosquitto"
