"""Pseudonyms: each vehicle identification number (VIN) becomes another text before anything else of voltd sees it.

The network thread does it with topic and payload as they arrive: database, spool, logs, dead letters, status and
alerts know the pseudonym alone. A pseudonym is HMAC-SHA-256 (RFC 2104) of the VIN with a key of the admin's. It is as
long as a VIN, so that binary payloads stay what they are, and begins with Q, which no VIN has (ISO 3779).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import pathlib
import re
from collections.abc import Mapping

from voltd import config, errors, models
from voltd.pipeline import room

LENGTH = 17
_MARK = "Q"
_LEAST_KEY_BYTES = 16
_CACHED = 200_000
_LONGEST_LEVEL = 256  # characters
_CACHED_BYTES = 128 << 20
_BINARY_TOPICS = "spBv1.0/"  # Sparkplug: protobuf, in which texts stand as they are
# ISO 3779: 17 characters without I, O and Q; of all makers the last four are digits.
_VIN = re.compile(
    # behind an escape of JSON, such as \\n, a word begins, too
    rb"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))(?=[0-9]*[A-Za-z])[A-HJ-NPR-Za-hj-npr-z0-9]{13}[0-9]{4}(?![A-Za-z0-9])"
)
# One that is glued to letters, as vin5YJ...: in letters of one size, with a digit among its first 13.
_GLUED = re.compile(
    rb"(?<![A-Za-z0-9])([A-Za-z]*?)(?=[A-Za-z]{0,12}[0-9])(?=[0-9]*[A-Za-z])([A-HJ-NPR-Z0-9]{13}[0-9]{4}|[a-hj-npr-z0-9]{13}[0-9]{4})(?![0-9])"
)
_LONG_WORD = re.compile(rb"[A-Za-z0-9]{18}")  # without one nothing is glued
# JSON may write any letter or digit like this.
_ESCAPED = re.compile(rb"(?<!\\)\\u00(3[0-9]|4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])")


class Pseudonyms:
    """The pseudonyms of one key, and of the one before it.

    Args:
        key: secret bytes, at least 16.
        key_id: one capital letter or digit, the pseudonyms' second character.
        previous: the key before and its id; None: there is none.

    Attributes:
        renamed: pseudonyms that have come up with this key, by the one of the key before, until they are recorded.
    """

    def __init__(self, key: bytes, key_id: str, previous: tuple[bytes, str] | None = None) -> None:
        self._key, self._key_id, self._previous = key, key_id, previous
        self._of: dict[bytes, bytes] = {}
        self._topics: dict[str, str] = {}
        self._originals: dict[str, str] = {}  # levels of topics, by what they have become
        self._room = room.Room(_CACHED, _CACHED_BYTES)
        self.renamed: dict[str, str] = {}

    def of(self, vin: str) -> str:
        """The pseudonym of a VIN, in capitals or not."""
        return _pseudonym(self._key, self._key_id, vin.upper().encode())

    def text(self, text: str) -> str:
        """A text with pseudonyms instead of VINs."""
        return self.content(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def content(self, content: bytes) -> bytes:
        """Bytes with pseudonyms instead of VINs; as long as before, unless JSON escapes stood in a VIN's place."""
        if b"\\u00" in content:
            content = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), content)
        content = _VIN.sub(self._replaced, content)
        return _GLUED.sub(self._unglued, content) if _LONG_WORD.search(content) else content

    def changes(self) -> dict[str, str]:
        """Those of ``renamed``, in an order that all who record them share, so that they cannot wait in a circle."""
        return dict(sorted(self.renamed.copy().items())) if self.renamed else {}

    def noted(self, changes: Mapping[str, str]) -> None:
        """These are recorded."""
        for previous in changes:
            self.renamed.pop(previous, None)

    def message(self, message: models.Message) -> models.Message:
        """A message with pseudonyms in topic and payload.

        A payload that is no UTF-8 (compressed, UTF-16) cannot be looked into: it is left out, and its dead letter says
        so. Sparkplug's protobuf is looked into.
        """
        topic = self._topics.get(message.topic)
        if topic is None:
            topic = self.text(message.topic)
            if topic != message.topic:
                self._note_levels(message.topic, topic)
            if self._room.take(self._topics, 2 * len(message.topic)):
                self._topics[message.topic] = topic
        payload = message.payload
        if not topic.startswith(_BINARY_TOPICS) and _is_opaque(payload):
            payload = b"%d bytes were left out: no UTF-8, they may have held a VIN" % len(payload)
        return message._replace(topic=topic, payload=self.content(payload))

    def original(self, topic: str) -> str:
        """A topic as its devices know it, for commands to them; kept in memory alone, for the network thread."""
        return "/".join(self._originals.get(level, level) for level in topic.split("/"))

    def _note_levels(self, topic: str, renamed: str) -> None:
        if len(self._originals) >= _CACHED:
            self._originals.clear()
            self._topics.clear()  # they bring theirs again
        for level, new in zip(topic.split("/"), renamed.split("/"), strict=True):
            if level != new and len(level) <= _LONGEST_LEVEL:
                self._originals[new] = level

    def _unglued(self, found: re.Match[bytes]) -> bytes:
        return bytes(found[1]) + self._pseudonym_of(found[2])

    def _replaced(self, found: re.Match[bytes]) -> bytes:
        return self._pseudonym_of(found[0])

    def _pseudonym_of(self, written: bytes) -> bytes:
        vin = written.upper()
        known = self._of.get(vin)
        if known is None:
            if len(self._of) >= _CACHED:
                self._of.clear()
            known = self._of[vin] = _pseudonym(self._key, self._key_id, vin).encode()
            if self._previous is not None:
                self.renamed[_pseudonym(*self._previous, vin)] = known.decode()
        return known


def _is_opaque(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in payload.rstrip(b"\0")  # UTF-16 without a mark


def is_vin(text: str) -> bool:
    """Whether it has the form of a VIN."""
    return _VIN.fullmatch(text.encode("utf-8", "surrogatepass")) is not None


def has_vin(text: str) -> bool:
    """Whether a VIN stands in it."""
    content = text.encode("utf-8", "surrogatepass")
    return _VIN.search(content) is not None or _GLUED.search(content) is not None


def _pseudonym(key: bytes, key_id: str, vin: bytes) -> str:
    digest = hmac.new(key, vin, hashlib.sha256).digest()
    return f"{_MARK}{key_id}{base64.b32encode(digest).decode()[: LENGTH - 2]}"


def of(settings: config.Settings) -> Pseudonyms | None:
    """Those of the settings; None: switched off.

    Raises:
        ConfigurationError: a key cannot be read, or is too short.
    """
    chosen = settings.pseudonyms
    if chosen.key_file is None:
        return None
    previous = None
    if chosen.previous_key_file is not None and chosen.previous_key_id is not None:
        previous = (_key(chosen.previous_key_file, "previous_key_file"), chosen.previous_key_id)
    return Pseudonyms(_key(chosen.key_file, "key_file"), chosen.key_id, previous)


def _key(file: pathlib.Path, setting: str) -> bytes:
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise errors.ConfigurationError(
            f"pseudonyms.{setting} = {str(file)!r} cannot be read: {error.strerror}",
            hint="make one: head -c 32 /dev/urandom | base64 > FILE, readable for the daemon's user alone",
        ) from error
    if len(key) < _LEAST_KEY_BYTES:
        raise errors.ConfigurationError(
            f"pseudonyms.{setting}: the key has {len(key)} bytes, fewer than {_LEAST_KEY_BYTES}",
            hint="make one: head -c 32 /dev/urandom | base64 > FILE",
        )
    return key
