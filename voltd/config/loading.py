"""Loads the settings: one TOML file, any of them overridden by the environment, passwords from files of their own.

``cli`` calls ``load`` for each command, ``app`` again on SIGHUP. An error names the field, its value and what to do.
"""

from __future__ import annotations

import os
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pydantic
import pydantic_core
import pydantic_settings

from voltd import config, errors, wording

_OTHER_VARIABLES = ("LOCAL_", "TEST_")  # VOLTD_LOCAL_SOURCE, VOLTD_TEST_DATABASE_DSN, ...
DEFAULT_PATH = pathlib.Path("/etc/voltd/voltd.toml")


def load(path: pathlib.Path | None = None, *, environ: Mapping[str, str] = os.environ) -> config.Settings:
    """Reads the file and the environment.

    Args:
        path: the TOML file; None is ``/etc/voltd/voltd.toml`` where that exists, otherwise defaults alone.
        environ: for ``CREDENTIALS_DIRECTORY``; ``VOLTD_...`` overrides come from the process environment.

    Raises:
        ConfigurationError: the file cannot be read or a value is wrong; it names field, value and hint.
    """
    values = _read(path)
    _refuse_misspelt(environ)
    try:
        settings = config.Settings(**values)
    except pydantic.ValidationError as error:
        raise errors.ConfigurationError(
            wording.describe(error, unknown="no such setting", secret=_secret_given),
            hint=f"correct it in {path or DEFAULT_PATH} or in the environment (VOLTD_...)",
        ) from error
    except pydantic_settings.SettingsError as error:
        section = re.search(r'field "(\w+)"', str(error))  # pydantic's words are all there is
        raise errors.ConfigurationError(
            f"a variable VOLTD_{section[1].upper() if section else ''}... is not JSON",
            hint="""lists and tables are JSON: VOLTD_MQTT__TOPICS__VEHICLE='["volt/vehicle/+/telemetry"]'""",
        ) from error
    return _with_secrets(settings, environ)


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """Reports variables that name no setting; pydantic would ignore VOLTD_MQTT_HOST without a message."""
    for name in environ:
        rest = name.removeprefix("VOLTD_")
        known = rest.split("__")[0].lower() in config.Settings.model_fields
        if rest == name or known or rest.startswith(_OTHER_VARIABLES):
            continue
        section = next((one for one in config.Settings.model_fields if rest.lower().startswith(f"{one}_")), None)
        meant = f": write VOLTD_{section.upper()}__{rest[len(section) + 1 :]}" if section else ""
        raise errors.ConfigurationError(
            f"{name} is no setting{meant}", hint="separate section and name by two underscores: VOLTD_MQTT__HOST"
        )


def _read(path: pathlib.Path | None) -> dict[str, Any]:
    source = path or DEFAULT_PATH
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if path is None:
            return {}
        raise errors.ConfigurationError(
            f"no configuration file {source}", hint="name one with --config, or omit --config for the defaults"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigurationError(f"{source} is not TOML: {error}", hint="correct that line") from error
    except OSError as error:
        raise errors.ConfigurationError(
            f"{source} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error


def _secret_given(item: pydantic_core.ErrorDetails) -> bool:
    """The value of a misspelt name may be a password, and channels have URLs."""
    return item["type"] == "extra_forbidden" or item["loc"][:2] == ("alerts", "channels")


def _with_secrets(settings: config.Settings, environ: Mapping[str, str]) -> config.Settings:
    """Passwords from files: as configured, or as systemd's LoadCredential hands them over."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    changes: dict[str, Any] = {}
    for name in ("mqtt", "database"):
        section: config.Mqtt | config.DatabaseSettings = getattr(settings, name)
        path = section.password_file
        if path is None and folder and section.password is None:
            candidate = pathlib.Path(folder, f"{name}-password")
            path = candidate if candidate.is_file() and candidate.read_bytes().strip() else None
        elif path is not None and folder and not path.is_absolute():
            path = pathlib.Path(folder, path)
        if path is not None:
            secret = _secret(path, section.password_file, f"{name}.password_file", "password")
            changes[name] = section.model_copy(update={"password": secret})
    if folder:  # a key by its name alone is one of the credentials
        names = {
            name: pathlib.Path(folder, path)
            for name in ("key_file", "previous_key_file")
            if (path := getattr(settings.pseudonyms, name)) is not None and not path.is_absolute()
        }
        if names:
            changes["pseudonyms"] = settings.pseudonyms.model_copy(update=names)
    channels = dict(settings.alerts.channels)
    for name, channel in channels.items():
        if channel.url_file is not None:
            path = pathlib.Path(folder or "", channel.url_file)
            url = _secret(path, channel.url_file, f"alerts.channels.{name}.url_file", "URL")
            channels[name] = channel.model_copy(update={"url": url})
    if channels:
        changes["alerts"] = settings.alerts.model_copy(update={"channels": channels})
    return settings.model_copy(update=changes) if changes else settings


def _secret(path: pathlib.Path, given: pathlib.Path | None, setting: str, what: str) -> pydantic.SecretStr:
    """Reads a secret from a file. An error shows ``given`` only if it is an absolute path: it may be the secret."""
    try:
        return pydantic.SecretStr(path.read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        shown = f" = {str(path)!r}" if given is None or given.is_absolute() else ""
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise errors.ConfigurationError(
            f"{setting}{shown} cannot be read: {reason}",
            hint=f"name a file that contains the {what} alone and that the daemon's user can read",
        ) from None  # its text has the name
