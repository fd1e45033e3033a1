"""Finds the files that are shipped with the code: SQL, sample configuration, unit files.

In a wheel they are in ``voltd/_share``; in a checkout (editable install) at the top of the repository.
"""

import pathlib

_PACKAGE = pathlib.Path(__file__).resolve().parent


def share(name: str) -> pathlib.Path:
    """Folder ``sql``, ``config`` or ``systemd`` of this installation.

    Raises:
        FileNotFoundError: the installation is incomplete; install it again.
    """
    for folder in (_PACKAGE / "_share" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"voltd's own folder {name!r} is missing: install the package again")
