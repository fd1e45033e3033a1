"""Reads recorded readings from a file: CSV or NDJSON, plain or gzip, told apart by content; one row at a time.

Called by ``replay``, twice over the same file where it needs the first and last time. Says for each line what it is
worth: a ``Row`` to publish or a ``Fault`` to report. Never judges values: that is the daemon's business.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import math
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

from voltd import errors

TIME_KEYS = ("timestamp", "createdAt")
TEXT_COLUMNS = {"vehicleId", "meterId", "chargingStatus", *TIME_KEYS}
MOST_ID_LENGTH = 64
_GZIP_MAGIC = b"\x1f\x8b"
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NO_TOPIC_LEVEL = re.compile(r"[/+#\x00]|[\ud800-\udfff]")  # MQTT 5, 4.7: separators, wildcards; 1.5.4: text


class Row(NamedTuple):
    """One recorded reading.

    Attributes:
        is_vehicle: otherwise a meter's.
        device_id: fit for a topic.
        at: recorded time, aware or naive as recorded; None where it is missing or no time.
        fields: by payload name, each value as JSON text.
    """

    line: int
    is_vehicle: bool
    device_id: str
    at: dt.datetime | None
    fields: dict[str, str]

    @property
    def at_s(self) -> float | None:
        """Recorded time in seconds since the epoch; one without offset counts as UTC."""
        if self.at is None:
            return None
        return (self.at if self.at.tzinfo else self.at.replace(tzinfo=dt.UTC)).timestamp()

    def text(self, shift: dt.timedelta) -> str:
        """The reading as JSON, ``shift`` later than recorded; without a shift its time is left as written."""
        fields = self.fields
        if shift and self.at is not None:
            key = next(key for key in TIME_KEYS if key in fields)
            try:
                shifted = (self.at + shift).isoformat()
            except OverflowError:  # the year 9999 of a clock that was never set: as it was
                shifted = self.at.isoformat()
            fields = {**fields, key: f'"{shifted}"'}
        return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"


class Fault(NamedTuple):
    """A line that cannot be published, and why."""

    line: int
    why: str


def read(path: pathlib.Path) -> Iterator[Row | Fault]:
    """Rows and faults of ``path`` in the order of its lines; blank lines are skipped. A CSV cell ends with its line.

    Raises:
        UsageError: no such file, or neither CSV with a header nor NDJSON.
        VoltdError: it cannot be read to its end.
    """
    try:
        with _open(path) as lines:
            yield from _rows(path, enumerate(lines, start=1))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise errors.UsageError(f"{path}: {error.strerror}", hint="name a readable CSV or NDJSON file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise errors.VoltdError(
            f"{path} is damaged: {error}", hint="what came before the damage was read; copy the file again"
        ) from error


def _open(path: pathlib.Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def _rows(path: pathlib.Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[Row | Fault]:
    header: list[str] | None = None
    delimiter = ","
    ndjson = False
    for number, raw in lines:
        if not raw.strip(b"\r\n\t \xef\xbb\xbf"):
            continue
        try:
            line = raw.decode("utf-8-sig" if header is None else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            if header is None and not ndjson:
                raise errors.UsageError(f"{path} is not text in UTF-8", hint="CSV or NDJSON, plain or gzip") from error
            yield Fault(number, "not UTF-8")
            continue
        if header is None and not ndjson:
            ndjson = line.lstrip().startswith("{")
            if not ndjson:
                delimiter = max(",;\t", key=line.count)
                header = _header(path, line, delimiter)
                continue
        yield _from_json(number, line) if header is None else _from_csv(number, line, header, delimiter)
    if header is None and not ndjson:
        raise errors.UsageError(f"{path} is empty", hint="CSV with a header line, or NDJSON")


def _header(path: pathlib.Path, line: str, delimiter: str) -> list[str]:
    if line.lstrip().startswith("["):
        raise errors.UsageError(f"{path} holds a JSON array", hint="one object a line is needed: jq -c '.[]' FILE")
    header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    if not {"vehicleId", "meterId"} & set(header):
        raise errors.UsageError(
            f"{path} has neither a column vehicleId nor meterId (found: {', '.join(header)[:200]})",
            hint="name the columns like the payload's fields: vehicleId,timestamp,soc,speed,...",
        )
    return header


def _from_csv(number: int, line: str, header: list[str], delimiter: str) -> Row | Fault:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        return Fault(number, f"not CSV: {error}")
    if len(cells) != len(header):
        return Fault(number, f"{len(cells)} cells where the header has {len(header)}")
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    return _row(number, values, {name: _json_text(name, cell) for name, cell in values.items() if cell})


def _from_json(number: int, line: str) -> Row | Fault:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            return Fault(number, "no JSON object")
        return _row(number, values, {name: json.dumps(value) for name, value in values.items()})
    except (ValueError, RecursionError) as error:
        return Fault(number, f"not JSON: {error}")


def _row(number: int, values: dict[str, Any], fields: dict[str, str]) -> Row | Fault:
    is_vehicle = not values.get("meterId")
    device_id = values.get("vehicleId" if is_vehicle else "meterId")
    if not device_id:
        return Fault(number, "neither vehicleId nor meterId")
    if not isinstance(device_id, str) or len(device_id) > MOST_ID_LENGTH or _NO_TOPIC_LEVEL.search(device_id):
        return Fault(number, f"the id {device_id!r:.80} cannot be part of a topic")
    written = next((values[key] for key in TIME_KEYS if values.get(key)), None)
    at = None
    if isinstance(written, str):
        try:
            at = dt.datetime.fromisoformat(written)
        except ValueError:
            at = None
    return Row(number, is_vehicle, device_id, at, fields)


def _json_text(name: str, cell: str) -> str:
    """A cell as JSON: a number where it is one and the column is no text, an object in diagnostics, else a text."""
    if name in TEXT_COLUMNS:
        return json.dumps(cell)
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    if name == "diagnostics":
        try:
            if isinstance(json.loads(cell), dict):
                return cell
        except (ValueError, RecursionError):
            pass
        return json.dumps(cell)
    try:
        number = float(cell)
    except ValueError:
        return json.dumps(cell)
    return repr(number) if math.isfinite(number) else json.dumps(cell)
