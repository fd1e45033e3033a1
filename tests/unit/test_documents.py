"""README.md and docs/ stay true: each command, setting, reason, table and make target is named; links lead on."""

import argparse
import pathlib
import re

import psycopg
import pytest

from voltd import cli, config, models, readings

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


def test_names_every_command():
    assert [name for name in cli._COMMANDS if f"voltd {name}" not in DOCS["reference.md"]] == []


def _settings(model, prefix=""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, config.Section):
            yield from _settings(field.annotation, f"{prefix}{name}.")
        elif name != "password":  # environment only
            yield prefix + name


def test_names_every_setting():
    assert [name for name in _settings(config.Settings) if f"`{name}`" not in DOCS["reference.md"]] == []


def test_names_no_setting_that_is_not_there():
    known = set(_settings(config.Settings))
    table = DOCS["reference.md"].split("| setting |")[1]
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+|instance|current_interval_s)`", table)
    assert [name for name in named if name not in known] == []


def test_names_every_reason():
    assert [reason for reason in models.Reason if f"`{reason}`" not in DOCS["devices.md"]] == []


def _allowed(field):
    if field.kind is readings.Kind.TEXT:
        return f"up to {readings.TEXT_LENGTH} characters"
    if field.kind is readings.Kind.OBJECT:
        return ""
    if field.high < readings.UNBOUNDED:
        return f"{field.low:g} to {field.high:g}"
    return "0 or more" if field.low == 0 else ""


@pytest.mark.parametrize("device_type", readings.DeviceType)
def test_describes_every_field(device_type):
    """The table of fields is the declaration of the readings, row by row."""
    head, _rule, *rows = DOCS["devices.md"].split(f"| {device_type} | what it is |")[1].split("\n\n")[0].splitlines()
    assert head == " unit | allowed | column |"
    for row, (column, field) in zip(rows, readings.fields(device_type).items(), strict=True):
        names = " or ".join(f"`{name}`" for name in field.names)
        assert row == f"| {names} | {field.meaning} | {field.unit} | {_allowed(field)} | `{column}` |"


def _words(parser):
    """The options of a command, and the names of its actions."""
    found = set()
    for action in parser._actions:
        found.update(action.option_strings, action.choices or ())
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found |= _words(sub)
    return found


def test_every_command_shown_exists():
    """Each `voltd ...` in a document: the command, its action and its options."""
    every = "\n".join([README, (ROOT / "CONTRIBUTING.md").read_text(), *DOCS.values()])
    blocks = "\n".join(re.findall(r"^```.*?^```", every, re.MULTILINE | re.DOTALL))
    shown = re.findall(r"^\s*(?:\S*/)?voltd ([a-z][^\n#]*)", blocks, re.MULTILINE)
    shown += re.findall(r"`voltd ([a-z][^`\n]*)`", every)
    assert len(shown) > 40
    for line in shown:
        name, *words = line.split()
        assert name in cli._COMMANDS, line
        (commands,) = [one for one in cli._parser([name])._actions if isinstance(one, argparse._SubParsersAction)]
        known = _words(commands.choices[name])
        options = [word.split("=")[0].strip("[](),.:;") for word in words if word.startswith("--")]
        assert [option for option in options if option not in known] == [], line
        actions = re.findall(r"^[a-z]+(?:\\?\|[a-z]+)*$", words[0]) if words else []
        if name in {"dead-letters", "alerts", "rules", "devices", "local"}:
            assert [one for group in actions for one in re.split(r"\\?\|", group) if one not in known] == [], line


def test_names_every_make_target():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "demo", "test", "test-quick", "lint", "help"} <= set(targets)
    every = "".join([README, (ROOT / "CONTRIBUTING.md").read_text(), *DOCS.values()])
    assert [target for target in targets if not re.search(rf"make {target}(?![\w-])", every)] == []


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def _anchor(heading):
    """As GitHub and GitLab make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "sql/README.md", *(f"docs/{name}" for name in DOCS)]
)
def test_links_lead_somewhere(name):
    """Within the project: the file is there, and so is the heading."""
    path = ROOT / name
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    for link in [one for one in links if "://" not in one]:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in map(_anchor, re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)), link


def test_no_retired_word_is_used():
    """The glossary's list, in whatever people read, and in names: an underscore separates words like a space."""
    words = re.findall(
        r"^\| ([^|]+) \| [^|]+ \|$", DOCS["glossary.md"].split("| not | but |\n|---|---|\n")[1], re.MULTILINE
    )
    assert len(words) >= 7
    listed = "|".join(word.replace(" ", "[ _]") for word in words)
    retired = re.compile(rf"(?<![a-z])(?:{listed})(?![a-z])", re.IGNORECASE)
    folders = ("voltd", "sql/queries", "sql/idempotent", "config", "docs", "systemd", "tests", "bench")
    paths = [
        ROOT / "README.md",
        *(path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.is_file()),
    ]
    texts = {
        path: path.read_text() for path in paths if path.suffix in {".py", ".sql", ".toml", ".md", ".service", ".conf"}
    }
    assert len(texts) > 400
    found = {path: retired.findall(text) for path, text in texts.items() if path.name != "glossary.md"}
    assert {str(path.relative_to(ROOT)): words for path, words in found.items() if words} == {}


def test_every_document_is_named():
    """In the README's table of what to read."""
    assert [name for name in DOCS if f"docs/{name}" not in README] == []


@pytest.mark.parametrize("needle", ["@@", "TODO"])
def test_holds_no_leftovers(needle):
    assert [name for name, text in {"README.md": README, **DOCS}.items() if needle in text] == []


def test_names_every_view_and_table_for_analysts(migrated_database):
    with psycopg.connect(migrated_database) as connection:
        names = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE relnamespace = 'volt'::regnamespace AND relkind IN ('r', 'v')"
            " AND has_table_privilege('volt_reader', c.oid, 'SELECT')"
        ).fetchall()
    assert [name for (name,) in names if f"`{name}`" not in DOCS["analysts.md"]] == []


@pytest.mark.parametrize(
    "view", ["efficiency_hourly", "efficiency_daily", "efficiency_quarter_hourly", "vehicle_quarter_hourly"]
)
def test_describes_the_kept_columns(migrated_database, view):
    """Word for word as in psql; a column that is no other than the hourly one is described there."""
    with psycopg.connect(migrated_database) as connection:
        columns = connection.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [f"volt.{view}"],
        ).fetchall()
    table = DOCS["analysts.md"].split(f"| column of `{view}` |")[1].split("\n\n")[0]
    hourly = DOCS["analysts.md"].split("| column of `efficiency_hourly` |")[1].split("\n\n")[0]
    expected = [f"| `{name}` | {meaning} |" for name, meaning in columns]
    assert [
        row for row in expected if row not in table and (view == "vehicle_quarter_hourly" or row not in hourly)
    ] == []


def test_describes_the_columns_of_sessions(migrated_database):
    """Word for word as in psql, but for links and quotes of code."""
    with psycopg.connect(migrated_database) as connection:
        columns = connection.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = 'volt.charging_session'::regclass AND attnum > 0 AND NOT attisdropped"
        ).fetchall()
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (.*) \|$", DOCS["sessions.md"], re.MULTILINE)
    said = {
        name: re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", meaning).replace("`", "")
        for names, meaning in rows
        for name in re.findall("[a-z_]+", names)
    }
    assert {name: said.get(name) for name, _ in columns} == dict(columns)
