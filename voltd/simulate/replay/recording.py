"""Reads recorded readings: CSV or NDJSON, plain or gzip, recognised by content; one line at a time.

``source`` opens the file or pipe, ``cells`` reads values. A line becomes a ``RecordedRow`` to publish (two if it names
a vehicle and a meter) or a ``Fault`` to report. It does not validate values: the daemon does.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import json
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from voltd import errors
from voltd.simulate.replay import cells, fields
from voltd.simulate.replay.source import Source

MOST_ID_LENGTH = 64
_NO_TOPIC_LEVEL = re.compile(r"[/+#\x00]|[\ud800-\udfff]")  # MQTT 5, 4.7: separators, wildcards; 1.5.4: text
_SEPARATOR = re.compile(r"sep=[,;\t]", re.IGNORECASE)  # as spreadsheets write it
_AS_WRITTEN = cells.Reading()
_NO_TIME = cells.Time("", None)


class RecordedRow(NamedTuple):
    """One recorded reading.

    Attributes:
        is_vehicle: otherwise a meter's.
        device_id: valid as a topic level.
        time: when it was recorded; its key is empty if the row has no time.
        values: by payload name, each value as JSON text.
    """

    line: int
    is_vehicle: bool
    device_id: str
    time: cells.Time
    values: dict[str, str]

    @property
    def at_s(self) -> float | None:
        """Recorded time in seconds since the epoch; one without offset counts as UTC."""
        at = self.time.at
        if at is None:
            return None
        return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()

    def text(self, shift: dt.timedelta) -> str:
        """The reading as JSON, ``shift`` later than recorded; without shift and zone its time is left as written."""
        values = self.values
        written = cells.time_text(self.time, shift)
        if written is not None:
            values = {**values, self.time.key: written}
        return "{" + ",".join([_key(name) + value for name, value in values.items()]) + "}"


@functools.lru_cache(maxsize=1000)
def _key(name: str) -> str:
    return json.dumps(name) + ":"


class Fault(NamedTuple):
    """A line that cannot be published, and why; ``kind`` is the same for all lines with that fault."""

    line: int
    why: str
    kind: str


def read(recording: Source | pathlib.Path, reading: cells.Reading = _AS_WRITTEN) -> Iterator[RecordedRow | Fault]:
    """Rows and faults in the order of the lines; blank lines are skipped. A CSV cell ends with its line.

    Raises:
        UsageError: no such file, or neither CSV with a header nor NDJSON.
        VoltdError: it cannot be read to its end.
        Stopped: see ``Source``.
    """
    source = Source(recording) if isinstance(recording, pathlib.Path) else recording
    name = source.name
    try:
        with source.open() as lines:
            for row in _rows(name, enumerate(lines, start=1), reading):
                source.go_on()
                yield row
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise errors.UsageError(f"{name}: {error.strerror}", hint="name a readable CSV or NDJSON file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise errors.VoltdError(
            f"{name} is damaged: {error}", hint="copy the file again; the lines before the damage were read"
        ) from error


def _rows(source: str, lines: Iterator[tuple[int, bytes]], reading: cells.Reading) -> Iterator[RecordedRow | Fault]:
    header: list[str] | None = None
    delimiter = ""
    ndjson = False
    for number, raw in lines:
        if not raw.strip(b"\r\n\t \xef\xbb\xbf"):
            continue
        try:
            line = raw.decode("utf-8-sig" if header is None else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            if header is None and not ndjson:
                encoding = "UTF-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "WINDOWS-1252"
                raise errors.UsageError(
                    f"{source} is not text in UTF-8",
                    hint=f"CSV or NDJSON, plain or gzip; text from a spreadsheet: iconv -f {encoding} -t UTF-8 FILE",
                ) from error
            yield Fault(number, "not UTF-8", "encoding")
            continue
        if header is None and not ndjson:
            ndjson = line.lstrip().startswith("{")
            if _SEPARATOR.fullmatch(line):
                delimiter = line[4:5]
                continue
            if not ndjson:
                delimiter = delimiter or max(",;\t", key=line.count)
                header = _header(source, line, delimiter)
                continue
        if header is None:
            yield from _from_json(number, line, reading)
        else:
            yield from _from_csv(number, line, header, delimiter, reading)
    if header is None and not ndjson:
        raise errors.UsageError(f"{source} is empty", hint="give CSV with a header line, or NDJSON")


def _header(source: str, line: str, delimiter: str) -> list[str]:
    if line.lstrip().startswith("["):
        raise errors.UsageError(f"{source} holds a JSON array", hint="one object a line is needed: jq -c '.[]' FILE")
    header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    if not set(fields.IDS) & set(header):
        meant = {name: near for name in header if (near := fields.near(name)) in fields.IDS}
        hint = "name the columns like the payload's fields: vehicleId,timestamp,soc,speed,..."
        if meant:
            hint = f"{', '.join(f'{name}: did you mean {near}?' for name, near in meant.items())[:200]} {hint}"
        raise errors.UsageError(
            f"{source} has neither a column vehicleId nor meterId (found: {', '.join(header)[:200]})", hint=hint
        )
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise errors.UsageError(f"{source} has two columns {twice[:80]}", hint="rename one of them")
    return header


def _from_csv(
    number: int, line: str, header: list[str], delimiter: str, reading: cells.Reading
) -> Iterator[RecordedRow | Fault]:
    try:
        row = next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        yield Fault(number, f"not CSV: {error}", "csv")
        return
    if len(row) != len(header):
        more = ""
        if delimiter == "," and len(row) > len(header):
            more = " (a decimal comma in a file that separates by commas? quote the cell, or separate by semicolons)"
        yield Fault(number, f"{len(row)} cells where the header has {len(header)}{more}", "cells")
        return
    values = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    if reading.skip_na:
        values = {name: "" if _is_na(name, cell) else cell for name, cell in values.items()}
    texts = {name: cells.json_text(name, cell, reading) for name, cell in values.items() if cell}
    yield from _readings(number, values, texts, reading)


def _from_json(number: int, line: str, reading: cells.Reading) -> Iterator[RecordedRow | Fault]:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            yield Fault(number, "no JSON object", "object")
            return
        if reading.skip_na:
            values = {name: value for name, value in values.items() if not _is_na(name, value)}
        texts = {name: _json_value(name, value, reading) for name, value in values.items()}
    except (ValueError, RecursionError) as error:
        yield Fault(number, f"not JSON: {error}", "json")
        return
    yield from _readings(number, values, texts, reading)


def _is_na(name: str, value: Any) -> bool:
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 NaN alone
    return isinstance(value, str) and cells.says_na(value, is_text=name not in fields.NUMBERS)


def _json_value(name: str, value: Any, reading: cells.Reading) -> str:
    if reading.decimal_comma and isinstance(value, str) and name in fields.NUMBERS:
        return cells.json_text(name, value, reading) if cells.has_decimal_comma(value) else json.dumps(value)
    return json.dumps(value)


def _readings(
    number: int, values: dict[str, Any], texts: dict[str, str], reading: cells.Reading
) -> Iterator[RecordedRow | Fault]:
    """The readings of a line: one, or two if it names a vehicle and a meter, each with its own fields."""
    named = [key for key in fields.IDS if values.get(key)]
    if not named:
        yield Fault(number, "neither vehicleId nor meterId", "id")
        return
    time = _time(values, reading)
    if len(named) == 1:
        texts.pop("meterId" if named[0] == "vehicleId" else "vehicleId", None)  # null
        yield _row(number, named[0], values, texts, time)
        return
    halves = []
    for key in fields.IDS:
        is_vehicle = key == "vehicleId"
        foreign = {*fields.of(is_vehicle=not is_vehicle), *fields.IDS} - {key}
        halves.append((key, {name: text for name, text in texts.items() if name not in foreign}))
    # A half without a measurement is no reading. Unknown fields go to the vehicle, so that they are reported once.
    measured = [half for half in halves if half[1].keys() & fields.of(is_vehicle=half[0] == "vehicleId").keys()]
    unknown = texts.keys() - {*fields.VEHICLE, *fields.METER, *fields.IDS, *fields.TIME_KEYS}
    for position, (key, own) in enumerate(measured or halves[:1]):
        yield _row(number, key, values, own if position == 0 else _without(own, unknown), time)


def _without(values: dict[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def _time(values: dict[str, Any], reading: cells.Reading) -> cells.Time:
    for key in fields.TIME_KEYS:
        if values.get(key):
            return cells.time(key, values[key], reading)
    return _NO_TIME


def _row(number: int, key: str, values: dict[str, Any], texts: dict[str, str], time: cells.Time) -> RecordedRow | Fault:
    device_id = values[key]
    if not isinstance(device_id, str) or len(device_id) > MOST_ID_LENGTH or _NO_TOPIC_LEVEL.search(device_id):
        return Fault(number, f"the id {device_id!r:.80} cannot be part of a topic", "topic")
    return RecordedRow(number, key == "vehicleId", device_id, time, texts)
