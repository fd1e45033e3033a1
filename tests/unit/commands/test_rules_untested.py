"""``voltd rules test``: a rule on what is not stored has no episodes, and the report says why."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from voltd.commands import rules, rules_text
from voltd.rules import load
from voltd.rules.backtest import history


@pytest.fixture
def units(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(
        '[rules.unit_suspect]\nmetric = "unit_factor"\napplies_to = ["vehicle", "meter"]\nfire_above = 1.5\n'
    )
    return file


@pytest.mark.parametrize("as_json", [True, False])
def test_a_rule_on_units_is_said_to_be_untested(units, capsys, as_json):
    trial = rules._trial(units, None)
    now = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    period = history.Period(now - dt.timedelta(days=1), now, None, None)
    rules._print_summaries(trial, [rules_text.Summary() for _ in trial.rules], period, as_json=as_json)
    shown = capsys.readouterr().out
    why = "not tested, as units are looked at while devices send; voltd doctor does it as well"
    if not as_json:
        assert f"unit_suspect: {why}" in shown
        return
    (row,) = (one for one in map(json.loads, shown.splitlines()) if one.get("rule") == "unit_suspect")
    assert (row["episodes"], row["note"]) == (None, why)


def test_others_have_no_such_words():
    (rule,) = (one for one in load.load(None) if one.name == "soc_low")
    assert rules_text.not_tested(rule) is None
