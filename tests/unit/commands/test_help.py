"""``voltd <command> --help`` explains each argument, and in which time zone times are read."""

import argparse
import datetime as dt
import time

import pytest

from voltd import cli


def _parsers(parser, name=""):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub_name, sub in action.choices.items():
                yield from _parsers(sub, f"{name} {sub_name}".strip())


EVERY = dict(_parsers(cli._parser(list(cli._COMMANDS))))


@pytest.mark.parametrize("name", EVERY)
def test_every_argument_is_explained(name):
    parser = EVERY[name]
    arguments = [one for one in parser._actions if not isinstance(one, argparse._SubParsersAction)]
    assert [one.dest for one in arguments if not one.help] == []
    assert parser.description
    assert parser.format_help()


@pytest.mark.parametrize("name", EVERY)
def test_the_time_zone_of_times_is_said(name):
    text = EVERY[name].format_help()
    if " WHEN" in text or " TIME" in text:
        words = " ".join(text.split())
        assert "if it has no offset" in words or "needs an offset" in words


def test_times_without_offset_are_local_but_for_dead_letters(monkeypatch):
    monkeypatch.setenv("TZ", "Australia/Sydney")
    time.tzset()
    at = "2026-03-01T22:00"
    listed = EVERY["dead-letters list"].parse_args(["--since", at])
    assert listed.since == dt.datetime(2026, 3, 1, 22, tzinfo=dt.UTC)
    alerts = EVERY["alerts list"].parse_args(["--since", at])
    assert alerts.since == dt.datetime(2026, 3, 1, 11, tzinfo=dt.UTC)
    monkeypatch.undo()
    time.tzset()
