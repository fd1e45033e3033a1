"""The SQL that ships with voltd: frozen migrations, editions, named queries."""

import ast
import hashlib
import pathlib

import pytest

from voltd import errors, resources
from voltd.database import edition, files, queries

PACKAGE = pathlib.Path(queries.__file__).resolve().parents[1]


def test_released_migrations_are_frozen():
    """Every migration is in SHA256SUMS with the hash of its bytes, and nothing else is."""
    folder = resources.share("sql") / "migrations"
    frozen = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    actual = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.sql")}
    assert actual == frozen
    assert [one.name for one in files.migrations()] == sorted(actual)


def test_a_changed_released_file_is_refused(tmp_path, monkeypatch):
    """An installation whose migration was edited may not migrate anything, and says which file it is."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_a.sql").write_text("SELECT 2;\n")
    (folder / "SHA256SUMS").write_text(hashlib.sha256(b"SELECT 1;\n").hexdigest() + "  0001_a.sql\n")
    monkeypatch.setattr(resources, "share", lambda _name: tmp_path)
    with pytest.raises(errors.SchemaError, match=r"0001_a\.sql"):
        files.migrations()


def test_each_edition_gets_its_files():
    """A file for one edition is not run on the other; the rest run on both, in the same order."""
    community = [one.name for one in files.idempotent(edition.Edition.COMMUNITY)]
    apache = [one.name for one in files.idempotent(edition.Edition.APACHE)]
    assert "20_hourly.community.sql" in community
    assert "20_hourly.apache.sql" in apache
    assert not [name for name in community if name.endswith(".apache.sql")]
    assert not [name for name in apache if name.endswith(".community.sql")]
    assert [n for n in community if n.count(".") == 1] == [n for n in apache if n.count(".") == 1]


def test_both_editions_share_the_text_of_the_aggregates():
    """What is included is the same text, and no include is left unresolved."""
    shared = "volt.register_increase(dc_register_kwh ORDER BY recorded_at)"
    for one in edition.Edition:
        texts = {found.name: found.text for found in files.idempotent(one)}
        assert shared in texts[f"20_hourly.{one.file_suffix}.sql"]
        assert not [name for name, text in texts.items() if "-- include:" in text]


def test_every_sql_file_says_what_why_and_which_lock():
    """Conventions: each file that changes the schema has a header."""
    share = resources.share("sql")
    for path in [share / "bootstrap.sql", *share.glob("migrations/*.sql"), *share.glob("idempotent/*.sql")]:
        head = path.read_text()[:1500]
        assert head.startswith("-- What:"), path.name
        assert "-- Why:" in head, path.name
        assert "-- Lock:" in head, path.name


def test_every_query_named_in_the_code_exists():
    """queries.text() and queries.copy() are called with literals that the files define."""
    used = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("queries.text", "queries.copy"):
                used |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    assert used
    assert not used - queries.load().keys()


def test_a_query_is_its_text_without_the_description():
    """Comment lines below the name belong to people."""
    text = queries.text("show_dead_letter")
    assert text.startswith("SELECT")
    assert text.rstrip(";").endswith("WHERE id = %(id)s")


@pytest.mark.parametrize(
    "mark",
    [
        "-- each values: x",
        "  -- each value: x",
        "-- each device: \nSELECT 1;",
        "-- end",
        "SELECT '{device}'",
        "{r.columns}",
    ],
)
def test_a_mark_that_stands_for_nothing_is_refused(tmp_path, mark):
    """To PostgreSQL it would be a comment: a trigger without its columns, and nobody the wiser."""
    (tmp_path / "a.sql").write_text(f"SELECT 2;\n{mark}\n")
    with pytest.raises(ValueError, match=r"a\.sql: marks"):
        files.text(tmp_path / "a.sql")


def test_an_include_may_be_one_of_the_device_type(tmp_path):
    (tmp_path / "include").mkdir()
    for device in ("vehicle", "meter"):
        (tmp_path / "include" / f"{device}_sums.sql").write_text(f"-- Of a {device}.\nsum({device})\n")
    (tmp_path / "a.sql").write_text("-- each device:\nSELECT\n  -- include: {device}_sums.sql\n;\n-- end\n")
    assert files.text(tmp_path / "a.sql") == "SELECT\n  sum(vehicle)\n;\nSELECT\n  sum(meter)\n;\n"
