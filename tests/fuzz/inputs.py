"""Seeded, structure-aware messages: good readings, named poison, and damaged bytes, as devices might publish them.

``messages`` makes any number of them for ``run`` and ``test_poison``; ``poison`` names the values they are made
of. The same seed and base time give the same bytes. It makes inputs with their expected fate, and evaluates nothing.
"""

import datetime as dt
import itertools
import json
import random
from typing import NamedTuple

from fuzz import poison
from voltd.readings import DeviceType

LIMIT = 4 << 20  # limits.max_payload_bytes
_MANY = 10_000  # limits.max_array_readings
_VEHICLES, _METERS = 500, 200


class Input(NamedTuple):
    """One message before it is sent.

    Attributes:
        kind: the maker's name, for the tally and for failures.
        topic: UTF-8, or what should have been.
        payload: the whole of it.
        stored: True where it must be stored, False where it must not, None where either is right.
        elements: how many fates it has where that is known: an array's readings, or 1.
        retained: the broker's retain flag.
    """

    kind: str
    topic: bytes
    payload: bytes
    stored: bool | None = None
    elements: int | None = None
    retained: bool = False


class _Device(NamedTuple):
    name: str

    @property
    def is_vehicle(self):
        return self.name[0] == "V"

    @property
    def type(self):
        return DeviceType.VEHICLE if self.is_vehicle else DeviceType.METER

    @property
    def topic(self):
        return f"volt/{self.type}/{self.name}/telemetry".encode()


class Generator:
    """Messages of one seed.

    Args:
        seed: anything hashable; equal seeds give equal messages.
        now: their devices' time, aware; pass it on as the time of arrival.
    """

    def __init__(self, seed, now):
        self._rng = random.Random(str(seed))
        self._now = now

    def messages(self, count):
        """So many inputs, each kind by its weight."""
        makers = self._rng.choices(_MAKERS, cum_weights=_CUMULATIVE, k=count)
        return [maker(self) for maker in makers]

    def _device(self):
        if self._rng.random() < 0.65:
            return _Device(f"V{self._rng.randrange(_VEHICLES)}")
        return _Device(f"M{self._rng.randrange(_METERS)}")

    def _time(self):
        days = 80 if self._rng.random() < 0.002 else 2
        at = self._now - dt.timedelta(microseconds=self._rng.randrange(days * 86_400_000_000))
        if self._rng.random() < 0.2:
            hours, minutes = self._rng.randrange(-23, 24), self._rng.choice((0, 30, 59))
            at = at.astimezone(dt.timezone(dt.timedelta(hours=hours, minutes=minutes)))
        return at.isoformat()

    def _fields(self, device):
        """A good reading: name -> JSON text."""
        rng = self._rng
        fields = {"timestamp": f'"{self._time()}"'}
        if rng.random() < 0.6:
            fields["vehicleId" if device.is_vehicle else "meterId"] = f'"{device.name}"'
        ranges = poison.ALLOWED[device.type]
        for name in rng.sample(sorted(ranges), rng.randint(1, len(ranges))):
            low, high = ranges[name]
            value = rng.choice((low, high, rng.randint(low, high), rng.uniform(low, high)))
            fields[name] = repr(value)
        for names, good in ((poison.TEXT_FIELDS, poison.GOOD_TEXTS), (poison.OBJECT_FIELDS, poison.GOOD_DIAGNOSTICS)):
            fields |= {name: rng.choice(good) for name in names[device.type] if rng.random() < 0.2}
        if rng.random() < 0.05:
            fields["firmware"] = '"1.2"'
        return fields

    def _reading(self, device):
        return _object(self._fields(device))

    def _poisoned(self, device):
        """A reading in which one or two values are poison: it may be stored or not, but it has one fate."""
        rng = self._rng
        fields = self._fields(device)
        for _ in range(rng.choice((1, 1, 1, 2))):
            choice = rng.random()
            if choice < 0.45:
                fields[rng.choice(sorted(poison.ALLOWED[device.type]))] = rng.choice(poison.NUMBERS)
            elif choice < 0.65:
                fields[rng.choice(("timestamp", "createdAt"))] = rng.choice(poison.TIMES)
            elif choice < 0.8:
                names = ("vehicleId", "meterId", "firmware", *poison.TEXT_FIELDS[DeviceType.VEHICLE])
                fields[rng.choice(names)] = rng.choice(poison.TEXTS)
            elif choice < 0.95:
                fields[rng.choice(poison.OBJECT_FIELDS[DeviceType.VEHICLE])] = rng.choice(poison.DIAGNOSTICS)
            else:
                fields[rng.choice(sorted(fields))] = rng.choice(poison.ANYTHING)
        return _object(fields)

    def _envelope(self, device, payload):
        return f'{{"type":"{"VEHICLE" if device.is_vehicle else "METER"}","payload":{payload}}}'

    def good(self):
        device = self._device()
        return Input(
            "good",
            device.topic,
            self._reading(device).encode(),
            stored=True,
            elements=1,
            retained=self._rng.random() < 0.02,
        )

    def good_array(self):
        device, count = self._device(), self._rng.choice((1, 2, 5, 30))
        text = self._spaced([self._reading(device) for _ in range(count)])
        return Input("good_array", device.topic, text.encode(), stored=True, elements=count)

    def framed(self):
        """Objects one a line, a byte order mark, NUL bytes at the end: all of them are taken."""
        device, count = self._device(), self._rng.choice((1, 2, 5))
        lines = self._rng.choice(("\n", "\r\n")).join([self._reading(device) for _ in range(count)])
        payload = self._rng.choice((b"", b"\xef\xbb\xbf")) + lines.encode() + self._rng.choice((b"", b"\0", b"\n\0\0"))
        return Input("framed", device.topic, payload, stored=True, elements=count)

    def good_envelope(self):
        device = self._device()
        fields = self._fields(device)
        fields["vehicleId" if device.is_vehicle else "meterId"] = f'"{device.name}"'
        return Input(
            "good_envelope", b"volt/ingest", self._envelope(device, _object(fields)).encode(), stored=True, elements=1
        )

    def mixed_array(self):
        device, count = self._device(), self._rng.choice((2, 3, 10))
        texts = [self._poisoned(device) if self._rng.random() < 0.4 else self._reading(device) for _ in range(count)]
        topic = device.topic
        if self._rng.random() < 0.3:
            topic, texts = b"volt/ingest", [self._envelope(self._device(), text) for text in texts]
        if self._rng.random() < 0.2:
            texts[self._rng.randrange(count)] = self._rng.choice(poison.ANYTHING)
        return Input("mixed_array", topic, self._spaced(texts).encode("utf-8", "surrogatepass"))

    def poisoned(self):
        device = self._device()
        text = self._poisoned(device)
        topic = device.topic
        if self._rng.random() < 0.2:
            topic, text = b"volt/ingest", self._envelope(device, text)
        return Input("poisoned", topic, text.encode("utf-8", "surrogatepass"))

    def bad_envelope(self):
        text = self._rng.choice(poison.ENVELOPES) % self._rng.choice(poison.ANYTHING)
        return Input("bad_envelope", b"volt/ingest", text.encode("utf-8", "surrogatepass"))

    def mutated(self):
        """Bytes flipped, inserted, deleted, repeated or cut in what was good or poisoned."""
        rng = self._rng
        made = rng.choice((self.good, self.good_array, self.good_envelope, self.poisoned, self.mixed_array))()
        data = bytearray(made.payload)
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            at = rng.randrange(len(data) + 1)
            choice = rng.random()
            if choice < 0.25:
                data[at : at + 1] = bytes([rng.randrange(256)])
            elif choice < 0.5:
                data[at:at] = rng.choice(poison.TOKENS)
            elif choice < 0.7:
                del data[at : at + rng.choice((1, 1, 2, 8))]
            elif choice < 0.85 and len(data) < 50_000:
                piece = data[at : at + rng.randrange(1, 60)]
                data[at:at] = piece * rng.choice((1, 2, 20))
            else:
                del data[at:]
        return Input("mutated", made.topic, bytes(data))

    def whole(self):
        """A payload that is poison as a whole."""
        name, payload = self._rng.choice(poison.PAYLOADS)
        return Input(f"whole:{name}", self._device().topic, payload, stored=False)

    def same_name_twice(self):
        """One object that names a field twice: the last one counts, or it is refused, but it has one fate."""
        device = self._device()
        first, second = self._fields(device), self._fields(device)
        names = itertools.chain(first.items(), second.items())
        text = "{" + ",".join(f'"{name}":{value}' for name, value in names) + "}"
        return Input("same_name_twice", device.topic, text.encode(), elements=1)

    def same_key_twice(self):
        """One array with the same device and time more than once: one row, the others are duplicates."""
        device = self._device()
        text = self._reading(device)
        count = self._rng.choice((2, 3, 50))
        return Input("same_key_twice", device.topic, self._spaced([text] * count).encode(), stored=True, elements=count)

    def many_fields(self):
        """1,600 fields of nonsense beside a good reading, or within its diagnostics."""
        device = self._device()
        nonsense = {f"f{number}\u20ac": self._rng.choice(poison.GOOD_NONSENSE) for number in range(1600)}
        fields = self._fields(device)
        if device.is_vehicle and self._rng.random() < 0.5:
            fields["diagnostics"] = _object(nonsense)
        else:
            fields |= nonsense
        return Input("many_fields", device.topic, _object(fields).encode(), stored=True, elements=1)

    def other_topic(self):
        topic, stored = self._rng.choice(poison.TOPICS)
        return Input("other_topic", topic, f'{{"timestamp":"{self._time()}","soc":1,"power":1}}'.encode(), stored, 1)

    def large(self):
        """Around and over the payload limit."""
        device = self._device()
        fields = self._fields(device) | {"note": '""'}
        size = self._rng.choice((LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, 1 << 20, LIMIT + 77_777))
        fields["note"] = '"' + "x" * (size - len(_object(fields).encode())) + '"'
        return Input("large", device.topic, _object(fields).encode(), size <= LIMIT, 1)

    def huge(self):
        size = self._rng.choice((LIMIT, 5_000_000, 10 << 20))
        return Input(
            "huge",
            self._device().topic,
            self._rng.choice((b"{", b"[", b"\0", b'"', b"9")) * size,
            stored=False,
            elements=1,
        )

    def many_elements(self):
        """Arrays around the limit of readings; each element of a permitted one has its own fate."""
        count = self._rng.choice((_MANY - 1, _MANY, _MANY + 1, _MANY + 1))
        element = self._rng.choice(("{}", "1", '{"soc":1}', "NaN", "[]", "null"))
        text = "[" + ",".join([element] * count) + "]"
        fates = 1 if count > _MANY else count
        return Input("many_elements", self._device().topic, text.encode(), stored=False, elements=fates)

    def _spaced(self, texts):
        space = self._rng.choice(("", "", "", " ", "\n", "\t\r\n "))
        return f"{space}[{space}" + f"{space},{space}".join(texts) + f"{space}]{space}"


def _object(fields):
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items()) + "}"


_WEIGHTS = {
    Generator.good: 30_000,
    Generator.good_array: 3_000,
    Generator.framed: 2_000,
    Generator.good_envelope: 5_000,
    Generator.mixed_array: 6_000,
    Generator.poisoned: 25_000,
    Generator.bad_envelope: 2_000,
    Generator.mutated: 20_000,
    Generator.whole: 3_000,
    Generator.same_name_twice: 1_500,
    Generator.same_key_twice: 1_000,
    Generator.other_topic: 2_500,
    Generator.many_fields: 60,
    Generator.large: 20,
    Generator.many_elements: 8,
    Generator.huge: 4,
}
_MAKERS = tuple(_WEIGHTS)
_CUMULATIVE = tuple(itertools.accumulate(_WEIGHTS.values()))
