"""Pseudonyms instead of VINs."""

from __future__ import annotations

import hashlib
import hmac
import json
import pathlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import families as support
from voltd import config, errors
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.decode.devices import families

VIN = "5YJ3E1EA7KF317000"
KEY = b"0123456789abcdef"
ONES = pseudonyms.Pseudonyms(KEY, "1")
VINS = st.from_regex(re.compile(r"[A-HJ-NPR-Z][A-HJ-NPR-Z0-9]{12}[0-9]{4}"), fullmatch=True)


@given(vin=VINS)
def test_a_pseudonym_is_a_keyed_hash_as_long_as_a_vin(vin):
    found = ONES.of(vin)
    assert re.fullmatch("Q1[A-Z2-7]{15}", found)
    assert found == ONES.of(vin.lower()) == ONES.text(vin) == ONES.text(vin.lower())
    assert ONES.text(found) == found  # not once more
    assert found != pseudonyms.Pseudonyms(KEY + b"x", "1").of(vin)


def test_it_is_hmac_sha_256():
    digest = hmac.new(KEY, VIN.encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:10], "big")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    assert ONES.of(VIN) == "Q1" + "".join(letters[number >> shift & 31] for shift in range(75, 0, -5))


@given(vin=VINS, before=st.text(max_size=20), after=st.text(max_size=20), lower=st.booleans())
def test_no_vin_is_left_in_a_payload(vin, before, after, lower):
    """As text, as JSON, with any letter escaped; within a longer word it is none."""
    written = vin.lower() if lower else vin
    for text in (f"{before} {written} {after}", json.dumps({"vin": written, before: after})):
        for shown in (text, text.replace(written, _escaped(written))):
            found = ONES.content(shown.encode("utf-8", "surrogatepass"))
            assert vin.encode() not in found.upper()
            assert ONES.of(vin).encode() in found


@pytest.mark.parametrize("before", ["\\n", "\\t", "\\u0020", "\\u000a", "\\u00e4", "_", "-", ":", '"'])
def test_a_vin_behind_an_escape(before):
    assert VIN.encode() not in ONES.content(f'{{"a":"{before}{VIN}"}}'.encode())


@pytest.mark.parametrize(
    "text",
    [
        "vin{}",
        "VIN{}",
        "car{}",
        "{}abc",
        "{}X",
        "vin{}abc",
        "x{}",
        '{{"id":"vehicle{}"}}',
        "a vin{} and the{}",
        "vin{}v2",
    ],
)
@pytest.mark.parametrize("vin", [VIN, VIN.lower(), "WVWZZZ1JZXW000001", "1HGCM82633A004352"])
def test_a_vin_that_is_glued_to_letters(text, vin):
    """The rest stays, and nothing is changed once more."""
    found = ONES.text(text.format(vin, vin))
    assert found == text.format(ONES.of(vin), ONES.of(vin))
    assert ONES.text(found) == found
    assert (pseudonyms.has_vin(text.format(vin, vin)), pseudonyms.has_vin(found)) == (True, False)


def test_a_long_word_takes_no_longer():
    """Each letter of a payload is looked at a few times, whatever it is made of."""
    began = time.process_time()
    for word in ("A" * 90_000, "A" * 30_000 + "1" * 60_000, "A1B2" * 22_500, ("A" * 16 + "1") * 5_000):
        ONES.text(word)
    assert time.process_time() - began < 3, "some 0.4 s; hours if the effort grew with the square"


def test_a_command_goes_to_the_node_by_its_own_name():
    """No VIN is in what voltd decodes; the network thread alone knows the node's name."""
    topic = ONES.message(support.message(f"spBv1.0/g/NDATA/{VIN.lower()}/d", b"")).topic
    _, group, _, node, _ = topic.split("/")
    assert VIN.lower() not in topic
    assert ONES.original(f"spBv1.0/{group}/NCMD/{node}") == f"spBv1.0/g/NCMD/{VIN.lower()}"
    assert ONES.original("spBv1.0/g/NCMD/other") == "spBv1.0/g/NCMD/other"


@pytest.mark.parametrize(
    "given",
    [
        {"devices": {"tesla": {"topics": [f"telemetry/{VIN}/{{id}}"]}}},
        {"devices": {"tesla": {"topics": ["telemetry/{id}"], "id": f"car{VIN}"}}},
        {"mqtt": {"topics": {"vehicle": [f"volt/{VIN}/+"]}}},
        {"timestamps": {"zone": {f"volt/vehicle/{VIN}/#": "UTC"}}},
    ],
)
def test_a_vin_in_the_settings_is_refused(tmp_path: pathlib.Path, given):
    """Topics arrive with pseudonyms: nothing would match. What is refused is not shown."""
    (tmp_path / "key").write_bytes(KEY)
    settings = config.Settings(pseudonyms={"key_file": tmp_path / "key"}, **given)
    with pytest.raises(errors.ConfigurationError, match="has a VIN, and pseudonyms are on") as refused:
        families.enabled(settings)
    assert VIN not in str(refused.value) + str(refused.value.hint)
    families.enabled(config.Settings(**given))


def test_an_escaped_backslash_stays():
    assert ONES.content(b'"C:\\\\u0041"') == b'"C:\\\\u0041"'


def test_sparkplug_is_looked_into():
    found = ONES.message(support.message("spBv1.0/g/DDATA/n/d", b"\x00\xff" + VIN.encode() + b"\x00"))
    assert (VIN.encode() in found.payload, len(found.payload)) == (False, 20)


def _escaped(text):
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


@pytest.mark.parametrize(
    "text",
    [
        "12345678901234567",  # a number
        "3.14159265358979312",
        '{"at":17776367400000000}',
        "DETAILEDCHARGESTATE0000X",
        "c44f330dxxad",
        "shellypro3em-34987a45e8bc",
        "2026-05-01T12:00:00.123456Z",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_other_texts_stay(text):
    assert ONES.text(text) == text


def test_topic_and_payload_of_a_message():
    message = support.message(f"telemetry/{VIN}/v/Soc", json.dumps({"vin": VIN, "soc": 5}))
    found = ONES.message(message)
    name = ONES.of(VIN)
    assert (found.topic, found.payload) == (f"telemetry/{name}/v/Soc", json.dumps({"vin": name, "soc": 5}).encode())
    assert found._replace(topic="", payload=b"") == message._replace(topic="", payload=b"")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x1f\x8b\x08",
        b"\x78\x9c1",
        b"\xfd7zXZ\xff",
        f'"{VIN}"'.encode("utf-16-be"),
        VIN.encode("utf-16"),
        f'{{"{VIN}"'.encode("utf-16-le"),
    ],
)
def test_what_cannot_be_looked_into_is_left_out(payload):
    found = ONES.message(support.message("t", payload))
    assert found.payload == b"%d bytes were left out: no UTF-8, they may have held a VIN" % len(payload)


def test_after_a_change_of_the_key_both_are_known():
    new = pseudonyms.Pseudonyms(b"another key of 16", "2", (KEY, "1"))
    new.text(f"a/{VIN}")
    assert new.renamed == {ONES.of(VIN): new.of(VIN)}
    assert new.of(VIN).startswith("Q2")


def _settings(**values):
    return config.Settings(pseudonyms=config.Pseudonyms(**values))


def test_keys_of_the_settings(tmp_path: pathlib.Path):
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    found = pseudonyms.of(_settings(key_file=file))
    assert found is not None
    assert found.of(VIN) == ONES.of(VIN)
    assert pseudonyms.of(config.Settings()) is None
    file.write_bytes(b"short")
    with pytest.raises(errors.ConfigurationError, match="the key has 5 bytes, fewer than 16"):
        pseudonyms.of(_settings(key_file=file))
    with pytest.raises(errors.ConfigurationError, match="cannot be read: No such file"):
        pseudonyms.of(_settings(key_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"key_file": "k", "key_id": "a"}, "should be one capital letter or digit"),
        ({"key_file": "k", "previous_key_file": "p"}, "belong together"),
        ({"key_file": "k", "previous_key_file": "p", "previous_key_id": "1"}, "give the new key another one"),
        ({"previous_key_file": "p", "previous_key_id": "2"}, "key_file is not"),
    ],
)
def test_wrong_settings(values, says):
    with pytest.raises(ValueError, match=says):
        config.Pseudonyms(**values)


def test_ids_of_the_settings_are_written_with_the_vin(tmp_path: pathlib.Path):
    file = tmp_path / "key"
    file.write_bytes(KEY)
    given_ = support.settings(ovms={"ids": {VIN: "van-7"}}).model_copy(
        update={"pseudonyms": config.Pseudonyms(key_file=file)}
    )
    message = ONES.message(support.message(f"ovms/u/{VIN}/metric/v/b/soc", "5"))
    assert [one.vehicle_id for one in support.decode(given_, message).vehicles] == ["van-7"]
