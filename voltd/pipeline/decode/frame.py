"""The frame around a payload's JSON: what is taken off, what is taken apart, and what is refused by its name.

``decode`` asks before and after it parses. A byte order mark and trailing NUL bytes are taken off; objects one a line
(NDJSON) are taken like an array; for anything else that is no JSON, ``explain`` says what it is. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pydantic_core

WHITESPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_BINARY = (
    (b"\x1f\x8b", "gzip: the payload is compressed; send JSON as it is"),
    (b"\x28\xb5\x2f\xfd", "zstd: the payload is compressed; send JSON as it is"),
    *((bytes([0x78, level]), "zlib: the payload is compressed; send JSON as it is") for level in (0x01, 0x9C, 0xDA)),
    (b"\xff\xfe", "UTF-16: send UTF-8"),
    (b"\xfe\xff", "UTF-16: send UTF-8"),
    (b"{\0", "UTF-16 or UTF-32: send UTF-8"),
    (b"[\0", "UTF-16 or UTF-32: send UTF-8"),
    (b"\0{", "UTF-16: send UTF-8"),
    (b"\0[", "UTF-16: send UTF-8"),
)
_FIRST_TEXT = 0x20  # lower bytes are control characters
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_python_json = json.JSONDecoder().raw_decode
_raw_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def bare(payload: bytes) -> bytes:
    """The payload without a byte order mark before it and NUL bytes (C's end of a text) behind it."""
    if payload[:3] == _BOM:
        payload = payload[3:]
    return payload.rstrip(b"\0") if payload[-1:] == b"\0" else payload


def parse(text: bytes) -> Any:
    """The JSON's value; NaN and Infinity are numbers.

    Raises:
        ValueError: it is no JSON; ``explain`` says why.
    """
    return pydantic_core.from_json(text, allow_inf_nan=True)


def elements(payload: bytes) -> Sequence[bytes | msgspec.Raw]:
    """The JSON texts of an array's elements, or of objects one a line, whatever they are worth.

    Raises:
        ValueError: neither.
    """
    text = bare(payload)
    if text.lstrip(WHITESPACE)[:1] != b"[":
        return lines(text)
    try:
        return _raw_elements(text)
    except Exception:  # noqa: BLE001 NaN for example, which is an element's fault, not the array's
        values: list[Any] = parse(text)
        return [pydantic_core.to_json(value, inf_nan_mode="constants") for value in values]


def lines(text: bytes) -> list[bytes]:
    """Objects one a line, at least two of them and the first one whole.

    Raises:
        ValueError: it is not that.
    """
    if b"\n" not in text:
        raise ValueError("one line")
    found = [line for one in text.split(b"\n") if (line := one.strip(WHITESPACE))]
    if len(found) < 2 or any(line[:1] != b"{" for line in found):  # noqa: PLR2004
        raise ValueError("not one object a line")
    parse(found[0])
    return found


def explain(payload: bytes, error: ValueError) -> str:
    """Why the payload, as published, is no JSON, in words of what the device did."""
    content = bare(payload)
    if not content.strip(WHITESPACE):
        return "nothing but NUL bytes" if payload[-1:] == b"\0" else "an empty payload"
    if content[0] not in b"{[" or content[1:2] == b"\0":
        named = next((what for beginning, what in _BINARY if content.startswith(beginning)), None)
        if named is not None:
            return named
    try:
        text = content.decode()
    except UnicodeDecodeError as undecodable:
        return _not_text(content, undecodable)
    if content[0] < _FIRST_TEXT and content[0] not in WHITESPACE:
        return _binary(content)
    return f"a NUL byte at byte {content.index(0)}" if "\0" in text else _no_json(text, error)


def _no_json(text: str, error: ValueError) -> str:
    if str(error).startswith("EOF while parsing"):
        return _cut_short(text)
    try:
        _value, end = _python_json(text, len(text) - len(text.lstrip(" \t\r\n")))
    except json.JSONDecodeError as broken:
        return _broken(text, broken)
    except (RecursionError, ValueError):
        return str(error)[:200]
    rest = text[end:].lstrip(" \t\r\n")
    if rest:
        if rest[0] in "{[":
            return "more than one JSON value: send an array of objects, or one object a line"
        return f"something follows the JSON value at character {len(text) - len(rest) + 1}"
    surrogate = "half of a surrogate pair in a text (like \\ud83d alone), which is no character"
    return surrogate if _SURROGATE.search(text) else str(error)[:200]  # it is JSON to Python


def _not_text(payload: bytes, error: UnicodeDecodeError) -> str:
    if error.start == 0 or (payload[0] < _FIRST_TEXT and payload[0] not in WHITESPACE):
        return _binary(payload)
    return f"not UTF-8: the byte {payload[error.start]:#04x} at byte {error.start}"


def _binary(payload: bytes) -> str:
    return f"binary data that begins with {payload[:8].hex(' ')}: JSON belongs here, in UTF-8"


def _broken(text: str, error: json.JSONDecodeError) -> str:
    whole = len(text.rstrip())
    if error.pos >= whole or error.msg.startswith("Unterminated string"):
        return _cut_short(text)
    # Details are for everybody, payloads for the owner alone: no piece of one.
    return f"not JSON at character {error.pos + 1}: {error.msg[:1].lower()}{error.msg[1:]}"


def _cut_short(text: str) -> str:
    return f"cut short: the JSON is not complete after its {len(text.encode())} bytes"


def text(value: Any) -> bytes:
    """A parsed value as JSON, whose numbers are those that were parsed.

    Raises:
        ValueError: a number of thousands of digits.
    """
    try:
        return msgspec.json.encode(value)
    except OverflowError:  # a whole number beyond 64 bits
        return json.dumps(value, ensure_ascii=False).encode()
