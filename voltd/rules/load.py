"""Loads the rules from rules.toml: one table a rule, ``[rules.<name>]``, and ``[charging]`` for all of them.

Called at start, on SIGHUP and by ``voltd rules test``. A broken file is refused as a whole, so the caller that already
has rules keeps them.
"""

from __future__ import annotations

import pathlib
import tomllib

import pydantic

from voltd import errors, resources, wording
from voltd.rules import charging_status, hours, model

DEFAULT_PATH = pathlib.Path("/etc/voltd/rules.toml")
_HINT = "config/rules.toml explains every key; the rules in force stay until the file is right"
_KEYS = {
    *model.Rule.model_fields,
    *model.Override.model_fields,
    *model.Step.model_fields,
    *hours.ActiveHours.model_fields,
} - {"name", "charging"}


def load(path: pathlib.Path | None = None) -> tuple[model.Rule, ...]:
    """Reads and checks the rules, in the order of the file. Rules come from one file alone.

    Args:
        path: the TOML file; None is ``/etc/voltd/rules.toml`` where that exists, otherwise the shipped rules.

    Raises:
        ConfigurationError: the file cannot be read or a rule makes no sense; it names file, rule, field and value.
    """
    text, source = _read(path)
    return parse(text, source=source)


def charging(path: pathlib.Path | None = None) -> charging_status.Charging:
    """The table ``[charging]`` of the same file alone. Raises as ``load``."""
    text, source = _read(path)
    return _charging(_tables(text, source).get("charging", {}), source)


def _read(path: pathlib.Path | None) -> tuple[str, str]:
    source = path or (DEFAULT_PATH if DEFAULT_PATH.is_file() else resources.share("config") / "rules.toml")
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise errors.ConfigurationError(f"no rules file {source}", hint="name one that exists") from error
    except UnicodeDecodeError as error:
        raise errors.ConfigurationError(f"{source} is not TOML: {error}", hint="save it as UTF-8") from error
    except OSError as error:
        raise errors.ConfigurationError(
            f"{source} cannot be read: {error.strerror}", hint="check its rights"
        ) from error
    return text, str(source)


def parse(text: str, *, source: str) -> tuple[model.Rule, ...]:
    """The rules in a TOML text; ``source`` names it in errors. Raises as ``load``."""
    tables = _tables(text, source)
    words = _charging(tables.get("charging", {}), source)
    rules = tables.get("rules", {})
    if not isinstance(rules, dict):
        raise errors.ConfigurationError(f"{source}: rules = {rules!r} is no table", hint="write [rules.<name>]")
    return tuple(_rule(name, table, source, words) for name, table in rules.items())


def _tables(text: str, source: str) -> dict[str, object]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.ConfigurationError(f"{source} is not TOML: {error}", hint="correct that line") from error
    for name in tables:
        if name not in ("rules", "charging"):
            raise errors.ConfigurationError(f"{source}: {name!r} belongs to no rule", hint="write [rules.<name>]")
    return tables


def _charging(table: object, source: str) -> charging_status.Charging:
    if not isinstance(table, dict):
        raise errors.ConfigurationError(f"{source}: charging = {table!r} is no table", hint="write [charging]")
    try:
        return charging_status.Charging.model_validate(table)
    except pydantic.ValidationError as error:
        said = wording.describe(error, unknown="no such key", known=charging_status.Charging.model_fields)
        raise errors.ConfigurationError(f"{source}: charging: {said}", hint=_HINT) from error


def _rule(name: str, table: object, source: str, words: charging_status.Charging) -> model.Rule:
    if not isinstance(table, dict):
        raise errors.ConfigurationError(f"{source}: rules.{name} = {table!r} is no rule", hint=f"write [rules.{name}]")
    if "name" in table:
        raise errors.ConfigurationError(
            f"{source}: rule {name}: name = {table['name']!r}: no such key", hint="a rule is named by [rules.<name>]"
        )
    if "charging" in table:
        raise errors.ConfigurationError(
            f"{source}: rule {name}: charging = {table['charging']!r}: no such key",
            hint="the words are one table for all rules: [charging]",
        )
    own = {"charging": words} if table.get("clear_when_charging") is True else {}
    try:
        return model.Rule.model_validate({"name": name, **table, **own})
    except pydantic.ValidationError as error:
        said = wording.describe(error, unknown="no such key", known=_KEYS)
        raise errors.ConfigurationError(f"{source}: rule {name}: {said}", hint=_HINT) from error
