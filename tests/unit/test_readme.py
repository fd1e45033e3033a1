"""README.md stays true: every command, setting, reason, table and make target that it must name is in it."""

import pathlib
import re

import psycopg
import pytest

from voltd import cli, config, models

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_names_every_command():
    assert [name for name in cli._COMMANDS if f"voltd {name}" not in README] == []


def _settings(model, prefix=""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, config._Section):
            yield from _settings(field.annotation, f"{prefix}{name}.")
        elif name != "password":  # environment only
            yield prefix + name


def test_names_every_setting():
    assert [name for name in _settings(config.Settings) if f"`{name}`" not in README] == []


def test_names_no_setting_that_is_not_there():
    known = set(_settings(config.Settings))
    table = README.split("### Settings")[1].split("### What is promised")[0]
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+|instance|current_interval_s)`", table.split("| setting |")[1])
    assert [name for name in named if name not in known] == []


def test_names_every_reason():
    assert [reason for reason in models.Reason if f"`{reason}`" not in README] == []


def test_names_every_make_target():
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "demo", "test", "lint", "help"} <= set(targets)
    assert [target for target in ("demo", "test", "setup", "lint", "help") if f"make {target}" not in README] == []


@pytest.mark.parametrize("needle", ["@@", "TODO"])
def test_holds_no_leftovers(needle):
    assert needle not in README


def test_names_every_view_and_table_for_analysts(migrated_database):

    with psycopg.connect(migrated_database) as connection:
        names = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE relnamespace = 'volt'::regnamespace AND relkind IN ('r', 'v')"
            " AND has_table_privilege('volt_reader', c.oid, 'SELECT')"
        ).fetchall()
    ours = ("setting", "migration", "rollup_state", "ingest_state", "ingest_commit")  # not for analysts
    ours_endings = ("_rollup", "_rollup_dirty", "_stored", "_live")
    missing = [name for (name,) in names if name not in ours and f"`{name}`" not in README]
    assert [name for name in missing if not name.endswith(ours_endings)] == []
