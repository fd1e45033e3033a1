"""The descriptions that voltd brings: where their facts are from, their documents, and words that the rules know."""

from __future__ import annotations

import pathlib

import pytest

from support import families as support
from voltd import config
from voltd.pipeline.decode.devices import catalogue, compiled
from voltd.rules import charging_status

ROOT = pathlib.Path(__file__).parents[4]
SHIPPED = ROOT / "voltd" / "pipeline" / "decode" / "devices" / "shipped"


@pytest.mark.parametrize("name", support.shipped())
def test_each_family_says_where_its_facts_are_from_and_is_documented(name):
    assert "# Facts: " in (SHIPPED / f"{name}.toml").read_text()
    documented = (ROOT / "docs" / "devices.md").read_text()
    assert f"[devices.{name}]" in documented or f"`{name}`" in documented


@pytest.mark.parametrize("name", support.shipped())
def test_each_document_is_compiled(name):
    family = catalogue.load(SHIPPED / f"{name}.toml")
    for document in family.document:
        device_type = document.device or family.device
        if document.time_format:  # a time that only the thorough way reads
            continue
        assert compiled.compile_document(document, device_type, config.Limits(), None, epoch=True), document.topic


@pytest.mark.parametrize(
    "word", ["DetailedChargeStateCharging", "DetailedChargeStateStarting", "Charging", "Starting", "charging", "topoff"]
)
def test_the_rules_know_that_energy_flows(word):
    assert charging_status.Charging().means_charging(word)


@pytest.mark.parametrize(
    "word",
    ["DetailedChargeStateComplete", "DetailedChargeStateStopped", "DetailedChargeStateDisconnected", "Complete",
     "NoPower", "Disconnected", "done", "prepare", "timerwait", "heating", "stopped"],
)  # fmt: skip
def test_the_rules_know_that_none_flows(word):
    assert not charging_status.Charging().means_charging(word)
