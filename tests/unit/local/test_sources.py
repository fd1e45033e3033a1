"""Host programs count only where they fit; what cannot be had is said with the ways to get it."""

import os
import pathlib

import pytest

from voltd import errors, local
from voltd.local import apt, containers, mosquitto, postgres, private_tree, sources


@pytest.fixture
def installation(tmp_path):
    """A function that lays out a PostgreSQL as Debian does; returns its bin folder."""

    def lay_out(major=17, timescaledb="2.19.3"):
        folder = tmp_path / f"usr/lib/postgresql/{major}/bin"
        folder.mkdir(parents=True)
        for name in ("postgres", "initdb", "pg_ctl"):
            (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}.4 (Vendor)'\n")
            (folder / name).chmod(0o755)
        if timescaledb:
            extension = tmp_path / f"usr/share/postgresql/{major}/extension"
            extension.mkdir(parents=True)
            (extension / "timescaledb.control").write_text(f"comment = 'x'\ndefault_version = '{timescaledb}'\n")
        return folder

    return lay_out


def test_postgresql_with_timescaledb_fits(installation):
    folder = installation()
    assert sources.inspect(folder) == postgres.Programs(folder, 17, "2.19.3")


@pytest.mark.parametrize(
    ("major", "timescaledb"), [(14, "2.19.3"), (19, "2.30.0"), (17, "2.18.2"), (17, "1.7.5"), (17, "")]
)
def test_unsupported_or_incomplete_installation_does_not_fit(installation, major, timescaledb):
    assert sources.inspect(installation(major, timescaledb)) is None


def test_unknown_source_is_refused(tmp_path):
    with pytest.raises(errors.UsageError, match="podman"):
        local.start(tmp_path / "home", progress=print, environ={"VOLTD_LOCAL_SOURCE": "podman"})


def test_nothing_to_be_had_names_the_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "host_postgres", lambda *_: iter(()))
    monkeypatch.setattr(sources, "host_mosquitto", lambda _: None)
    monkeypatch.setattr(apt, "host_mirror", lambda: None)
    monkeypatch.setattr(private_tree, "cache_folder", lambda _: tmp_path)
    with pytest.raises(errors.ServersNotFound) as caught:
        sources.choose({"VOLTD_LOCAL_SOURCE": "host"}, print)
    for way in ("mosquitto", "Docker", "TimescaleDB", "VOLTD_DATABASE__DSN", "VOLTD_TEST_DATABASE_DSN"):
        assert way in str(caught.value)


def test_forced_docker_without_an_engine_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "engine_answers", lambda: False)
    with pytest.raises(errors.ServersNotFound, match="no Docker engine answers"):
        local.start(tmp_path / "home", progress=print, environ={"VOLTD_LOCAL_SOURCE": "docker"})


def test_ordinary_users_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert private_tree.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "voltd/servers"
    monkeypatch.setattr(pathlib.Path, "home", lambda: pathlib.Path("/home/someone"))
    assert private_tree.cache_folder({}) == pathlib.Path("/home/someone/.cache/voltd/servers")


def test_roots_cache_is_where_the_servers_user_can_read_it(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for environ in ({}, {"XDG_CACHE_HOME": str(closed)}):
        assert private_tree.cache_folder(environ) == pathlib.Path("/var/cache/voltd/servers")


def test_extra_broker_line_replaces_ours():
    text = mosquitto.configuration("listener 1 127.0.0.1", "/d/", "stdout", ["autosave_interval 1", "listener 2"])
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("autosave")] == ["autosave_interval 1"]
    assert [line for line in lines if line.startswith("listener")] == ["listener 1 127.0.0.1", "listener 2"]


@pytest.mark.parametrize("durable", [True, False])
def test_commit_is_always_synchronous(durable):
    text = postgres.settings(5432, ["max_connections = 7"], durable)
    assert "synchronous_commit = 'on'" in text
    assert f"fsync = '{'on' if durable else 'off'}'" in text
    assert "listen_addresses = '127.0.0.1'" in text
    assert text.rstrip().endswith("max_connections = 7")


def test_docker_that_does_not_work_is_not_the_end(tmp_path, monkeypatch):
    """Images may not be had although the engine answers; the next source is taken."""

    def no_image(*_, **__):
        raise OSError("no such image")

    def next_source(*_):
        raise errors.ServersNotFound("the next source was asked")  # and the home is not left behind

    monkeypatch.setattr(containers, "engine_answers", lambda: True)
    monkeypatch.setattr(local.servers, "_in_docker", no_image)
    monkeypatch.setattr(sources, "choose", next_source)
    said = []
    with pytest.raises(errors.ServersNotFound, match="next source"):
        local.start(tmp_path / "home", progress=said.append, environ={})
    assert "no such image" in said[0]
    assert not (tmp_path / "home").exists()
    with pytest.raises(errors.VoltdError, match="no such image"):
        local.start(tmp_path / "home", progress=said.append, environ={"VOLTD_LOCAL_SOURCE": "docker"})
