"""The private tree appears whole or not at all, once, and is made anew where it does not fit.

Real packages, programs and patchelf; only the download is replaced by packages built here.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from voltd import errors
from voltd.local import apt, elf, private_tree

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages can be built on Debian only")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package with one program (this host's `true`, as mosquitto) and the loader and C library that it needs."""
    content = tmp_path_factory.mktemp("package")
    program = pathlib.Path("/bin/true").resolve()
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = content / "usr/lib/some-linux-gnu"
    libraries.mkdir(parents=True)
    for library in re.findall(r"(/\S+)", needed):
        shutil.copy(library, libraries)
    (content / "usr/sbin").mkdir()
    shutil.copy(program, content / "usr/sbin/mosquitto")
    (content / "DEBIAN").mkdir()
    (content / "DEBIAN/control").write_text(
        "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: none <none@example.org>\nDescription: small\n"
    )
    file = tmp_path_factory.mktemp("built") / "small.deb"
    subprocess.run(["dpkg-deb", "--build", content, file], check=True, capture_output=True)
    return file


@pytest.fixture
def cache(tmp_path, monkeypatch, package):
    """A cache folder of our own; downloads copy the small package."""

    class Source(apt.Apt):
        def update(self):
            yield "updated"

        def download(self, packages):
            yield f"downloading {packages}"
            shutil.copy(package, self.archives)

    monkeypatch.setattr(apt, "Apt", Source)
    monkeypatch.setattr(apt, "host_mirror", lambda: apt.Mirror("http://m.example/debian", None, None))
    monkeypatch.setattr(private_tree, "cache_folder", lambda _: tmp_path / "servers")
    return tmp_path / "servers"


def _quiet(_line):
    """Nobody reads the progress."""


def test_program_uses_loader_and_libraries_of_the_tree(cache):
    tree = private_tree.ready({}, _quiet)
    program = tree / "usr/sbin/mosquitto"
    assert tree.parent == cache
    subprocess.run([program], check=True, env={})
    for option in ("--print-interpreter", "--print-rpath"):
        said = subprocess.run([elf.patchelf(), option, program], capture_output=True, text=True, check=True).stdout
        assert said.startswith(str(tree / "usr/lib/some-linux-gnu"))


def test_second_time_says_and_does_nothing(cache):
    private_tree.ready({}, _quiet)
    lines = []
    private_tree.ready({}, lines.append)
    assert lines == []
    assert sorted(path.name[:6] for path in cache.iterdir()) == ["debian", "lock"]


@pytest.mark.parametrize("step", ["_unpack", "_programs"])
def test_cut_short_leaves_no_tree_and_the_next_start_completes_it(cache, monkeypatch, step):
    with monkeypatch.context() as broken:

        def killed(*_):
            raise KeyboardInterrupt

        broken.setattr(private_tree, step, killed)
        with pytest.raises(KeyboardInterrupt):
            private_tree.ready({}, _quiet)
    assert not list(cache.glob("debian*"))
    subprocess.run([private_tree.ready({}, _quiet) / "usr/sbin/mosquitto"], check=True)


def test_two_at_once_make_it_once(cache):  # noqa: ARG001
    lines = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: private_tree.ready({}, lines.append), range(2))
    assert first == second
    assert sum("private copy in" in line for line in lines) == 1


def test_tree_that_was_moved_is_made_anew(cache):  # noqa: ARG001
    tree = private_tree.ready({}, _quiet)
    (tree / "made-for").write_text("/somewhere/else")
    subprocess.run([private_tree.ready({}, _quiet) / "usr/sbin/mosquitto"], check=True)
    assert (tree / "made-for").read_text() == str(tree)


def test_failed_download_says_what_apt_said(cache, monkeypatch):  # noqa: ARG001
    def refuse(_source):
        raise apt.AptFailed("apt-get update failed:\n  E: no network")

    monkeypatch.setattr(apt.Apt, "update", refuse)
    with pytest.raises(errors.VoltdError, match="no network"):
        private_tree.ready({}, _quiet)


def test_programs_are_open_to_everybody_whatever_the_umask(cache):
    """As root the servers run as another user."""
    before = os.umask(0o077)
    try:
        tree = private_tree.ready({}, _quiet)
    finally:
        os.umask(before)
    folders = [tree, tree / "usr", tree / "usr/sbin", *([cache, cache.parent] if os.geteuid() == 0 else [])]
    assert all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders)
