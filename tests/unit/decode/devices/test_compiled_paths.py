"""One value that two fields are made of: compiled as well, whichever field comes first."""

import itertools
import zoneinfo
from typing import Any

import pytest

from voltd import config, models
from voltd.pipeline.decode import timestamp
from voltd.pipeline.decode.devices import compiled, description, document, sources

METER = models.DeviceType.METER
FIELDS: dict[str, Any] = {
    "kwhConsumedAcTotal": {"path": "a.total", "less": "r.total", "unit": "Wh"},
    "kwhReturnedAcTotal": {"path": "r.total", "unit": "Wh"},
    "power": {"path": "r.total", "unit": "W", "negate": True},
}


@pytest.mark.parametrize("order", list(itertools.permutations(FIELDS)))
@pytest.mark.parametrize("returned", [b',"r":{"total":2000}', b',"r":{}', b',"r":null', b""])
def test_one_value_in_several_fields(order, returned):
    payload = b'{"a":{"total":9000}%b}' % returned
    described = description.Document(fields={name: sources.DocumentField(**FIELDS[name]) for name in order})
    limits = config.Limits()
    quick = compiled.compile_document(described, METER, limits, zoneinfo.ZoneInfo("UTC"), epoch=True)
    assert quick is not None
    slow = document.DocumentReader(described, METER, limits, timestamp.TimestampReader(epoch=True, as_text=True), None)
    message = models.Message("t", payload, 1, None, size=len(payload))
    assert list(quick(payload)[2]) == list(slow._slowly(message, "m").columns)


def test_what_no_compiled_form_reads():
    """A value and what is within it exclude each other."""
    described = description.Document(
        fields={
            "power": sources.DocumentField(path="a", unit="W"),
            "voltage": sources.DocumentField(path="a.b", unit="V"),
        }
    )
    assert compiled.compile_document(described, METER, config.Limits(), None, epoch=True) is None
