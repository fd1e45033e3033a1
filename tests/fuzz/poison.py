"""Values known to hurt JSON parsers, Python and PostgreSQL, as JSON texts: what ``inputs`` builds messages of.

Each list belongs to one place in a message. Texts are written as a device would send them, never by an encoder that
would mend them. The fields come from ``voltd.readings``, so a new one is fuzzed at once. Data only.
"""

from voltd import readings
from voltd.readings import DeviceType, Kind


def _of(device_type, kind):
    return {field.wire: field for field in readings.fields(device_type).values() if field.kind is kind}


# By device type: measured values with what is allowed of each, in the contract's units; texts; objects.
ALLOWED = {
    device_type: {name: (int(field.low), int(field.high)) for name, field in _of(device_type, Kind.NUMBER).items()}
    for device_type in DeviceType
}
TEXT_FIELDS = {device_type: sorted(_of(device_type, Kind.TEXT)) for device_type in DeviceType}
OBJECT_FIELDS = {device_type: sorted(_of(device_type, Kind.OBJECT)) for device_type in DeviceType}

NUMBERS = [
    "1e400", "-1e400", "1e309", "1e308", "1" + "0" * 400, "-1" + "0" * 400, "9" * 4299, "9" * 4301, "9" * 20_000,
    "0." + "0" * 5000 + "1", "-0.0", "-0", "0e0", "1e-320", "5e-324", "1e-400", "2.2250738585072011e-308",
    "1.7976931348623157e308", "1.7976931348623159e308", "9007199254740993", "18446744073709551616",
    "-9223372036854775809", "100.00000000000001", "100.000000000000001", "1000000000.0000001", "NaN", "-NaN", "nan",
    "Infinity", "-Infinity", "inf", "true", "false", '"1"', '""', '"NaN"', '"1e400"', "[]", "[1]", "{}", "null",
    "01", "+1", "1.", ".5", "1e", "0x10", "1_000", "1e99999999999999999999", "-", "--1", "1,", "undefined", "",
]  # fmt: skip

TEXTS = [
    r'"\u0000"', r'"a\u0000b"', r'"\\u0000"', r'"\ud800"', r'"\udc00"', r'"\udc00\ud800"', r'"\ud83d\ude00"',
    r'"\ud800x"', '"\ud800"', '"\udfff"', '""', '" "', '"' + "x" * 32 + '"', '"' + "x" * 33 + '"',
    '"' + "x" * 64 + '"', '"' + "x" * 65 + '"', '"' + "\u00e9" * 64 + '"', '"' + "\U0001f697" * 32 + '"',
    '"' + "\U0001f697" * 65 + '"', '"' + "x" * 100_000 + '"', '"\x01"', '"\n"', r'"\u0001"', r'"\n\t\r\b\f\/"',
    '"\x7f"', '"\u0085"', '"\u2028"', '"\ufeff"', '"\ufffe"', '"\uffff"', '"\u202e"', '"e\u0301"', r'"\x00"',
    r'"\u00"', r'"\uZZZZ"', "'a'", '"a', "7", "null", "true", "[]", "{}", "\"'; DROP TABLE volt.vehicle; --\"",
    r'"\\."', r'"\\N"', '"%s%(x)s"', '"$1"', '"../../etc"', '"V1/telemetry"', '"+"', '"#"',
]  # fmt: skip

TIMES = [
    f'"{text}"'
    for text in (
        "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59",
        "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59+23:59",
        "10000-01-01T00:00:00Z", "294277-01-01T00:00:00Z", "+294277-01-01T00:00:00Z", "-0001-01-01T00:00:00Z",
        "-4713-11-24T00:00:00Z", "2026-06-30T23:59:60Z", "2016-12-31T23:59:60Z", "2026-02-29T00:00:00Z",
        "2024-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00-23:59", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00-24:00",
        "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00", "2026-01-01", "20260101",
        "2026-01-01 00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01T00:00Z", "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890123456789Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01", "2026-W01-1T00:00:00Z", "2026-001T00:00:00Z", "infinity", "-infinity", "epoch",
        "now", "today", "allballs", "", " ", "Z", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z", "J2451187",
        "2026-01-01T00:00:00Z BC", "1" * 5000,
    )
] + [
    "0", "1", "-1", "1767225600", "1767225600.5", "1e400", "9" * 5000, "null", "true", "[]", "{}", r'"\u0000"',
]  # fmt: skip

DIAGNOSTICS = [
    r'{"a":"\u0000"}', r'{"\u0000":1}', r'{"a":"\\u0000"}', r'{"a":"\\\u0000"}', r'{"a":"\ud800"}', r'{"\udc00":1}',
    '{"a":"\ud800"}', '{"a":1e400}', '{"a":-1e400}', '{"a":1' + "0" * 400 + "}", '{"a":' + "9" * 4300 + "}",
    '{"a":' + "9" * 4301 + "}", '{"a":' + "9" * 140_000 + "}", '{"a":1e-400}', '{"a":-0.0}', '{"a":1e-320}',
    '{"a":NaN}', '{"a":[Infinity,-Infinity]}', '{"a":1,"a":2}', '{"":""}', "{}", "[]", "1", '"x"', "null", "true",
    '{"a":' * 100 + "1" + "}" * 100, '{"a":' * 199 + "1" + "}" * 199, '{"a":' * 201 + "1" + "}" * 201,
    '{"a":' * 1000 + "1" + "}" * 1000, '{"a":' + "[" * 150 + "]" * 150 + "}", '{"a":' + "[" * 5000 + "]" * 5000 + "}",
    '{"' + "k" * 100_000 + '":1}', '{"a":"' + "v" * 200_000 + '"}', '{"a":"' + "[" * 300 + '"}', '{"a":"\x01"}',
    r'{"a":"\u0001\u001f\u007f"}', '{"a":"\u2028\ufeff\uffff"}',
    "{" + ",".join(f'"{n}":{n}' for n in range(3000)) + "}",
    "{" + ",".join(f'"{n}":[{n}]' for n in range(300)) + "}", '{"a":1,}', '{"a"}', "{a:1}", "{'a':1}", '{"a":0x1}',
    '{"a":[{"b":[{"c":null}]}],"d":1.0000000000000000000000000000001}', '{"a":"\U0001f697"}', r'{"a":"\ud83d\ude97"}',
    r'{"__proto__":{},"$ref":"#","%s":"%(x)s"}', '{"a":123456789012345678901234567890.123456789}',
]  # fmt: skip

GOOD_TEXTS = ['"CHARGING"', '"idle"', '"\u5145\u96fb\u4e2d"', '""', r'"\u00e9"', r'"\ud83d\ude97"', '"a\\\\u0000"']
GOOD_DIAGNOSTICS = ['{"a":[1,2.5,null,true,"x"]}', "{}", '{"codes":{"P0A80":1},"text":"\u00e9\u20ac\\n\\""}']
GOOD_NONSENSE = ["1", "null", '"\u00e9"', "[1,[2]]", '{"a":{}}', "true", "-1.5e3"]

ANYTHING = [
    *NUMBERS, *TEXTS, "[[[]]]", "[" * 1000, "[" * 300 + "]" * 300, "{}", '{"type":"VEHICLE","payload":{}}',
    '{"timestamp":"2026-01-01T00:00:00Z"}', "[{}]", "[[{}],[{}]]", "/* */", "// x", ",", ":", "}", "]", "\ud800",
]  # fmt: skip

ENVELOPES = [
    "%s", "[%s]", '{"type":%s,"payload":{}}', '{"type":"VEHICLE","payload":%s}', '{"type":"METER","payload":%s}',
    '{"payload":%s}', '{"type":%s}', '{"type":"VEHICLE","payload":{},"more":%s}', '[{"type":"VEHICLE","payload":%s}]',
    '{"type":"VEHICLE","type":"METER","payload":{},"payload":%s}', '{"type":"vehicle","payload":%s}',
]  # fmt: skip

_DEEP = 100_000
PAYLOADS = [
    ("empty", b""), ("blank", b" \t\r\n"), ("nul", b"\0"), ("bom", b"\xef\xbb\xbf"), ("bom_object", b"\xef\xbb\xbf{}"),
    ("bom_array", b"\xef\xbb\xbf[{}]"), ("utf16", '{"soc":1}'.encode("utf-16")), ("utf32", b"{\0\0\0}\0\0\0"),
    ("raw_surrogate", b'{"chargingStatus":"\xed\xa0\x80"}'), ("overlong", b'{"chargingStatus":"\xc0\x80"}'),
    ("beyond_unicode", b'{"chargingStatus":"\xf4\x90\x80\x80"}'), ("truncated_utf8", b'{"chargingStatus":"\xe2\x82"}'),
    ("latin1", b'{"chargingStatus":"\xe9"}'), ("deep_arrays", b"[" * _DEEP + b"]" * _DEEP), ("deep_open", b"[" * _DEEP),
    ("deep_objects", b'{"a":' * 40_000 + b"1" + b"}" * 40_000), ("deep_objects_open", b'{"a":' * 50_000),
    ("deep_mixed", b'[{"a":' * 40_000), ("deep_element", b"[{}," + b"[" * 50_000 + b"]" * 50_000 + b"]"),
    ("deep_diagnostics", b'{"soc":1,"diagnostics":' + b'{"a":' * 40_000 + b"1" + b"}" * 40_001),
    ("array_in_array", b"[[]]"), ("arrays_in_array", b'[[{"soc":1}],[{"soc":1}]]'), ("empty_array", b"[]"),
    ("number", b"42"), ("huge_number", b"9" * 200_000), ("string", b'"on"'), ("null", b"null"), ("true", b"true"),
    ("nan", b"NaN"), ("array_of_nan", b"[NaN,NaN]"), ("two_objects", b"{}{}"), ("object_then_text", b"{} x"),
    ("open_object", b"{"), ("open_array", b"["), ("open_string", b'"' + b"x" * 10_000), ("comma", b"[,]"),
    ("trailing_comma", b"[{},]"), ("csv", b"V1,2026-01-01T00:00:00Z,50"), ("xml", b"<soc>50</soc>"),
    ("protobuf", bytes(range(8, 250))), ("quotes", b'"' * 5000), ("backslashes", b'"' + b"\\" * 9999 + b'"'),
    ("escapes", b'"' + rb"\ud800" * 20_000 + b'"'), ("commas", b"," * 100_000),
    ("objects", b"[" + b"{}," * 900 + b"1]"),
]  # fmt: skip

_TELEMETRY = "volt/vehicle/%s/telemetry"
TOPICS = [
    (b"", False), (b"/", False), (b"volt", False), (b"volt/vehicle", False), (b"volt/vehicle/V1", False),
    (b"volt/vehicle//telemetry", False), (b"volt/vehicle/V1/telemetry/", False), (b"volt/ingest/", False),
    (b"volt/vehicle/V1/V2/telemetry", False), (b"VOLT/vehicle/V1/telemetry", False), (b"\xff\xfe", False),
    (b"$SYS/broker/uptime", False), (b"x" * 65_535, False), (b"/" * 65_535, False), (b"a\0b", False),
    (b"volt/vehicle/V1\n/telemetry", True), ((_TELEMETRY % ("x" * 64)).encode(), True),
    ((_TELEMETRY % ("x" * 65)).encode(), False), ((_TELEMETRY % ("\u00e9" * 64)).encode(), True),
    ((_TELEMETRY % ("\U0001f697" * 64)).encode(), True), ((_TELEMETRY % ("x" * 60_000)).encode(), False),
    (b"volt/vehicle/\x01\x7f/telemetry", True), (b"volt/vehicle/\0/telemetry", False),
    (b"volt/vehicle/\xff/telemetry", True), (b"volt/vehicle/\xed\xa0\x80/telemetry", True),
    (b"volt/meter/+/telemetry", True),
    (b"volt/vehicle/#/telemetry", True), (b"volt/vehicle/ /telemetry", True), (b"volt/vehicle/'\"\\/telemetry", True),
]  # fmt: skip

TOKENS = [
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":", b"-",
    b".",
    b"e9", b"e400", b"0", b"99999999999999999999", b"NaN", b"Infinity", b"null", b"true", rb"\u0000", rb"\ud800",
    b'"timestamp":', b'"soc":', b'"payload":', b'"type":"METER"', b"[[", b"]]", b"{}", b" ", b"\n", b"T24:00:00Z",
]  # fmt: skip
