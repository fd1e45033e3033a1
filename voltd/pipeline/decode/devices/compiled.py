"""Documents, compiled: one function a description, over a msgspec struct that has nothing but the wanted values.

It only ever says yes: what it cannot take raises, and ``document`` reads that field by field. Its source is made of
names and numbers of our own; what a description has written gets into it as constants by reference alone.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from voltd import config, readings
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import description, path, sources, taken
from voltd.pipeline.decode.epoch import from_epoch
from voltd.readings import DeviceType, Kind

Quick = Callable[[bytes], tuple[dt.datetime | None, str | None, tuple[Any, ...]]]
_Number = float | None
_Numbers = float | list[float | None] | None
_Text = Annotated[str, Meta(max_length=readings.TEXT_LENGTH)] | None
_Time = dt.datetime | float | None
_MOST_DAYS = 1000  # of which is known whether clocks change
_Tree = dict[str, Any]  # keys to trees or, at the leaves, to (names with = between them, type)


class _OddError(Exception):
    """A value that the thorough way has to look at."""


def compile_document(
    document: description.Document,
    device_type: DeviceType,
    limits: config.Limits,
    zone: zoneinfo.ZoneInfo | None,
    *,
    epoch: bool,
) -> Quick | None:
    """A function from payload to time, id and columns.

    None: a path is an index, two paths exclude each other, or times have a format of their own.
    """
    if document.time_format:
        return None
    try:
        return _Compiler(document, device_type, limits, _utc_in(zone, epoch=epoch)).function()
    except _OddError:
        return None


class _Compiler:
    def __init__(
        self,
        document: description.Document,
        device_type: DeviceType,
        limits: config.Limits,
        utc: Callable[[Any], dt.datetime | None],
    ) -> None:
        self._document = document
        self._device_type = device_type
        self._ignored = dict(fields.FieldReader(device_type, limits).sentinels)
        self._tree: _Tree = {}
        self._counter = itertools.count()
        self._constants: dict[str, Any] = {"odd": _odd, "total": _total, "whole": _whole, "utc": utc}
        self._lines: list[str] = []
        self._unless: dict[str, str] = {}

    def function(self) -> Quick:
        columns = ["None"] * len(readings.fields(self._device_type))
        for name, source in self._document.fields.items():
            self._field(name, source, columns)
        at = self._leaf(path.parse(self._document.time), _Time) if self._document.time else "None"
        if at != "None":
            self._lines.append(f"if {at} is not None: {at} = utc({at})")
        written = self._leaf(path.parse(self._document.id_path), str | None) if self._document.id_path else "None"
        used = [one for one in columns if one != "None"]
        position = [columns[place] for place in self._position()]
        checks = []
        if self._document.others == "refuse":
            checks.append(f"if {' is None and '.join(used)} is None: odd()")
        elif at != "None":  # what is passed over must not be refused for its time
            checks.append(f"if {' is None and '.join(used)} is None: {at} = None")
        if len(position) == 2 and "None" not in position:  # noqa: PLR2004
            checks.append(f"if {position[0]} == 0 == {position[1]}: odd()")
        if any(readings_kind is not Kind.NUMBER for readings_kind in self._kinds()) or written != "None":
            checks.append('if b"\\\\u0000" in payload: odd()')
        decoded = list(self._unpack(self._tree, "d"))
        body = [
            "d = decode(payload)",
            *decoded,
            *self._lines,
            *checks,
            f"return {at}, {written}, ({', '.join(columns)},)",
        ]
        text = "def read(payload):\n" + "\n".join(f"    {line}" for line in body)
        self._constants["decode"] = msgspec.json.Decoder(self._struct(self._tree, "Document")).decode
        space = self._constants
        exec(compile(text, "<description>", "exec"), space)  # noqa: S102 names and numbers of our own
        found: Quick = space["read"]
        return found

    def _kinds(self) -> Iterator[Kind]:
        by_name = {field.wire: field.kind for field in readings.fields(self._device_type).values()}
        return (by_name[name] for name in self._document.fields)

    def _position(self) -> list[int]:
        names = [field.wire for field in readings.fields(self._device_type).values()]
        return [names.index(name) for name in readings.POSITION if name in names]

    def _constant(self, value: Any) -> str:
        name = f"c{next(self._counter)}"
        self._constants[name] = value
        return name

    def _field(self, name: str, source: sources.DocumentField, columns: list[str]) -> None:
        measured = taken.Measured(source, name, self._device_type, as_text=True)
        add = self._number if measured.is_number else self._text
        columns[measured.place] = found = add(source, measured)
        if source.unless:
            if source.unless not in self._unless:  # of several fields it may be the same
                self._unless[source.unless] = self._leaf(path.parse(source.unless), Any)
            self._lines.append(f"if {self._unless[source.unless]} is not None: {found} = None")

    def _text(self, source: sources.DocumentField, _measured: taken.Measured) -> str:
        if len(source.paths) > 1 or source.ignore:
            raise _OddError
        leaf = self._leaf(path.parse(source.paths[0]), _Text)
        if source.words:
            words = self._constant(dict(source.words))
            self._lines.append(f"if {leaf} is not None: {leaf} = {words}.get({leaf}, {leaf})")
            if any(len(word) > readings.TEXT_LENGTH or "\0" in word for word in source.words.values()):
                raise _OddError
        return leaf

    def _number(self, source: sources.DocumentField, measured: taken.Measured) -> str:
        leaves = [self._leaf(path.parse(one), _Numbers if source.take else _Number) for one in source.paths]
        value = leaves[0]
        if source.ignore:
            wordless = frozenset(one for one in source.ignore if one.__class__ is not str)
            ignored = self._constant(wordless)
            self._lines += [f"if {leaf}.__class__ is list or {leaf} in {ignored}: odd()" for leaf in leaves]
        if source.take:
            take = self._constant(source.take)
            total = "whole" if measured.whole else "total"
            if len(leaves) > 1:
                there = (" and " if measured.whole else " or ").join(f"{leaf} is not None" for leaf in leaves)
                otherwise = "None" if measured.whole else value
                self._lines.append(f"{value} = {total}([{', '.join(leaves)}], {take}) if {there} else {otherwise}")
            else:
                self._lines.append(f"if {value}.__class__ is list: {value} = {total}({value}, {take})")
        lines = []
        if source.less:
            less = self._leaf(path.parse(source.less), _Number)
            lines.append(f"if {less} is not None: {value} = {value} - {less}")
        expression = measured.conversion.source(f"(0.0 - {value})" if source.negate else value)
        if expression != value:
            lines.append(f"{value} = {expression}")
        lines.append(f"if not {measured.field.low!r} <= {value} <= {measured.field.high!r}: odd()")
        if sentinels := self._ignored.get(measured.place + 2):
            lines.append(f"if {value} in {self._constant(sentinels)}: odd()")
        self._lines.append(f"if {value} is not None:")
        self._lines += [f"    {line}" for line in lines]
        return value

    def _leaf(self, steps: tuple[path.Step, ...], kind: Any) -> str:
        """The name of the variable for a path; its place in the tree of structs.

        Two paths to one value get two variables only if they want the same type.
        """
        tree = self._tree
        for step in steps[:-1]:
            if step.__class__ is not str:
                raise _OddError
            tree = tree.setdefault(str(step), {})
            if not isinstance(tree, dict):
                raise _OddError
        key = steps[-1]
        if key.__class__ is not str:
            raise _OddError
        name = targets = f"v{next(self._counter)}"
        if (there := tree.get(str(key))) is not None:
            if not isinstance(there, tuple) or there[1] != kind:
                raise _OddError
            targets = f"{there[0]} = {name}"
        tree[str(key)] = (targets, kind)
        return name

    def _struct(self, tree: _Tree, name: str) -> type[msgspec.Struct]:
        declared, rename = [], {}
        for number, (key, value) in enumerate(tree.items()):
            kind = value[1] if isinstance(value, tuple) else self._struct(value, f"{name}{number}") | None
            declared.append((f"f{number}", kind, None))
            rename[f"f{number}"] = key
        return msgspec.defstruct(name, declared, rename=rename, gc=False)

    def _unpack(self, tree: _Tree, holder: str) -> Iterator[str]:
        for number, value in enumerate(tree.values()):
            if isinstance(value, tuple):
                yield f"{value[0]} = {holder}.f{number}"
            else:
                inner = f"{holder}_{number}"
                yield f"{inner} = {holder}.f{number}"
                yield f"if {inner} is None: {' = '.join(_leaves(value))} = None"
                yield "else:"
                yield from (f"    {line}" for line in self._unpack(value, inner))


def _leaves(tree: _Tree) -> list[str]:
    """The variables of a tree."""
    return [name for value in tree.values() for name in ([value[0]] if isinstance(value, tuple) else _leaves(value))]


def _odd() -> None:
    raise _OddError


def _total(values: list[Any], take: str) -> Any:
    """What ``take`` makes of numbers and lists of them."""
    flat = [one for value in values for one in (value if value.__class__ is list else (value,))]
    return taken.several(flat, take)


def _whole(values: list[Any], take: str) -> Any:
    """The same; None where one of them is missing."""
    return (
        None
        if any(None in value if value.__class__ is list else value is None for value in values)
        else _total(values, take)
    )


class _ChangesOfClocks:
    """The days on which clocks of a zone are changed: an hour of theirs may come twice.

    Attributes:
        days: what is known, by day.
    """

    def __init__(self, zone: zoneinfo.ZoneInfo | None) -> None:
        self._zone = zone
        self.days: dict[int, bool] = {}

    def on(self, at: dt.datetime) -> bool:
        """Whether they are on the day of a local time."""
        if len(self.days) >= _MOST_DAYS:
            self.days.clear()
        start = dt.datetime(at.year, at.month, at.day, tzinfo=self._zone)
        found = self.days[at.toordinal()] = start.utcoffset() != (start + dt.timedelta(days=1)).utcoffset()
        return found


def _utc_in(zone: zoneinfo.ZoneInfo | None, *, epoch: bool) -> Callable[[Any], dt.datetime | None]:
    """Makes a time as it was parsed aware UTC; None: it has no offset, and no zone is set."""
    changes = _ChangesOfClocks(zone)
    known = changes.days.get

    def utc(at: Any) -> dt.datetime | None:
        if at.__class__ is not dt.datetime:
            if not epoch:
                raise _OddError
            return from_epoch(at)
        if at.tzinfo is dt.UTC:
            return at
        if at.tzinfo is not None:
            return at.astimezone(dt.UTC)
        if zone is None:
            return None
        if known(at.toordinal()) is not False and changes.on(at):  # which of two hours it is, its arrival says
            raise _OddError
        return at.replace(tzinfo=zone).astimezone(dt.UTC)

    return utc
