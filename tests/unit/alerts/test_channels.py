"""Which channel is notified of what, and settings that cannot work."""

import pathlib
import traceback

import pytest

from support.rules import cycle_fakes
from voltd import config, errors, metrics
from voltd.alerts import channels, service
from voltd.alerts.senders import apprise
from voltd.config import loading
from voltd.pipeline.write.excursions import Excursions

SECRET = "s3cret"


def _make(**kept):
    settings = config.Settings(alerts={"mqtt": kept.pop("mqtt", False), "channels": {"one": kept} if kept else {}})
    return channels.make(settings)


def _one(**kept):
    return _make(**{"url": "json://localhost", **kept})[0]


def _wants(channel, **changes):
    asked = {"severity": "warning", "rule": "soc_low", "fleet_id": "north", "transition": "fired", "quiet": False}
    return channel.wants(**{**asked, **changes})


def test_a_channel_for_all():
    """By default warnings and worse, beginnings and ends, of every rule and fleet."""
    one = _one()
    assert _wants(one)
    assert _wants(one, severity="critical", transition="resolved", fleet_id=None)
    assert not _wants(one, severity="info")
    assert not _wants(one, quiet=True)


def test_a_channel_for_some():
    one = _one(rules=["soc_low"], fleets=["north"], min_severity="critical", resolved=False)
    assert _wants(one, severity="critical")
    assert not _wants(one)
    assert not _wants(one, severity="critical", rule="stale")
    assert not _wants(one, severity="critical", fleet_id="south")
    assert not _wants(one, severity="critical", fleet_id=None)
    assert not _wants(one, severity="critical", transition="resolved")


@pytest.mark.parametrize("kept", [{"mqtt": True}, {"kind": "alertmanager", "url": "http://am:9093", "resolved": False}])
def test_a_channel_that_shows_a_state(kept):
    """It hears of quiet transitions and always of the end: a topic would stay for ever."""
    (one,) = _make(**kept)
    assert one.shows_state
    assert one.group_s == 0
    assert _wants(one, quiet=True)
    assert _wants(one, transition="resolved")


def test_the_topics_hear_of_everything():
    """The channel that is there without being configured."""
    (one,) = _make(mqtt=True)
    assert one.name == "mqtt"
    assert _wants(one, severity="info")


@pytest.mark.parametrize("scheme", ["json", "jsons", "form", "forms", "xml", "xmls"])
def test_programs_are_notified_at_once(scheme):
    assert _one(url=f"{scheme}://localhost/x").group_s == 0
    assert _one(url=f"{scheme}://localhost/x", group_s=7).group_s == 7


def test_people_are_notified_in_groups():
    assert _one(url="mailto://user:pass@example.org").group_s == 30


@pytest.mark.parametrize(
    "kept",
    [
        {"url": f"nosuch://{SECRET}@localhost"},
        {"url": f"slack://{SECRET}"},
        {"url": SECRET},
        {"kind": "alertmanager", "url": f"ftp://u:{SECRET}@am"},
        {"kind": "alertmanager", "url": f"http://u:{SECRET}@am:port"},
    ],
)
def test_a_url_that_is_not_understood(kept, capfd):
    """It is refused with the channel's name and a hint, and shown nowhere."""
    with pytest.raises(errors.ConfigurationError, match=r"alerts\.channels\.one") as refused:
        _make(**kept)
    assert refused.value.hint
    assert SECRET not in str(refused.value) + refused.value.hint
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        f"tgram://123456789:{SECRET}_hijklmnop/111111/222222",
        f"mailto://user:{SECRET}@example.org?to=a@example.org,b@example.org",
        f"mailto://user:{SECRET}@example.org?to=a@example.org&cc=b@example.org",
    ],
)
def test_a_url_with_several_receivers(url):
    """It is refused: when one of them fails, the others would be notified again and again."""
    with pytest.raises(errors.ConfigurationError, match=r"alerts\.channels\.one.*several receivers") as refused:
        _make(url=url)
    assert "channel for each" in refused.value.hint
    assert SECRET not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "tgram://123456789:abcdefg_hijklmnop/111111?retry=3",
        "mailto://user:pass@example.org?to=a@example.org",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
        "json://localhost?retry=2",
    ],
)
def test_a_url_with_one_receiver(url):
    """However often Apprise itself would try."""
    assert _make(url=url)


def test_what_may_be_secret_in_a_url():
    """Everything but the host, and that too where it may be a token; decoded as well."""
    parts = apprise._parts("json://user:p%40ssword@host.example:8080/path-token?key=value1")
    assert {"user", "p%40ssword", "p@ssword", "path-token", "value1"} <= set(parts)
    assert "host.example" not in parts
    assert "host.example" not in apprise._parts("jsons://host.example/token")
    assert {"TokenA123", "TokenB123"} <= set(apprise._parts("slack://TokenA123/TokenB123"))


def _load(tmp_path, text, **environ):
    path = pathlib.Path(tmp_path, "voltd.toml")
    path.write_text(text)
    return loading.load(path, environ=environ)


def test_a_url_from_a_file(tmp_path):
    """As named, or where systemd's LoadCredential puts it; it is not in the settings' repr."""
    (tmp_path / "hook-url").write_text(f"json://u:{SECRET}@localhost\n")
    relative = _load(tmp_path, "[alerts.channels.hook]\nurl_file = 'hook-url'", CREDENTIALS_DIRECTORY=str(tmp_path))
    absolute = _load(tmp_path, f"[alerts.channels.hook]\nurl_file = '{tmp_path}/hook-url'")
    for settings in (relative, absolute):
        assert settings.alerts.channels["hook"].url.get_secret_value() == f"json://u:{SECRET}@localhost"
        assert SECRET not in repr(settings)
        assert [one.name for one in channels.make(settings)] == ["mqtt", "hook"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.ConfigurationError, match=r"alerts\.channels\.hook\.url_file = '/no/where'"):
        _load(tmp_path, "[alerts.channels.hook]\nurl_file = '/no/where'")


@pytest.mark.parametrize(
    "text",
    [
        f"[alerts.channels]\nhook = 'json://{SECRET}@localhost'",
        f"[alerts.channels.hook]\nulr = 'json://{SECRET}@localhost'",
        f"[alerts.channels.hook]\nurl = ['json://{SECRET}@localhost']",
        f"[mqtt]\npasswrod = '{SECRET}'",
        f"[mqtt]\npassword_file = '{SECRET}'",
        f"[alerts.channels.hook]\nurl_file = 'slack://{SECRET}/token'",
        f"[alerts.channels.hook]\nurl_file = 'slack://{SECRET}/{'x' * 300}'",
        f"[alerts.channels.mqtt]\nurl = 'json://hook:{SECRET}@localhost'",
    ],
)
@pytest.mark.parametrize("environ", [{}, {"CREDENTIALS_DIRECTORY": "/no/where"}])
def test_a_slip_beside_a_secret(tmp_path, text, environ):
    """The message names the field, not what stands there."""
    with pytest.raises(errors.ConfigurationError, match=r"hook|passwrod|mqtt") as refused:
        _load(tmp_path, text, **environ)
    shown = "".join(traceback.format_exception(refused.value)) if "_file" in text else str(refused.value)
    assert SECRET not in shown + refused.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[alerts.channels.hook]\nurl = 'json://localhost'\nrepeat_s = inf", r"hook\.repeat_s"),
        ("[alerts.channels.hook]\nurl = 'json://localhost'\nrepeat_s = nan", r"hook\.repeat_s"),
        ("[alerts.channels.mqtt]\nurl = 'json://localhost'", r"channels\.mqtt would take the place of the topics"),
    ],
)
def test_a_slip_that_would_notify_nobody(tmp_path, text, problem):
    """It is refused when the settings are read, not noticed when a notification is missing."""
    with pytest.raises(errors.ConfigurationError, match=problem):
        _load(tmp_path, text)


def test_a_channel_for_a_rule_that_there_is_not(tmp_path):
    """It is refused with the rule that was meant, also by a reload, which then changes nothing."""
    settings = _load(tmp_path, "[alerts.channels.hook]\nurl = 'json://localhost'\nrules = ['stale', 'soc_lw']")
    with pytest.raises(errors.ConfigurationError, match=r"alerts\.channels\.hook\.rules: .*'soc_lw'") as refused:
        channels.require_rules(settings, ["soc_low", "stale"])
    assert refused.value.hint == "did you mean 'soc_low'?"
    made = service.Alerting(
        config.Settings(alerts={"mqtt": False, "channels": {"old": {"url": "json://localhost", "rules": ["soc_low"]}}}),
        lambda: None, metrics.Metrics(), daemon=cycle_fakes.ThisDaemon(lambda: None),
        excursions=Excursions(),
    )  # fmt: skip
    with pytest.raises(errors.ConfigurationError, match="soc_lw"):
        made.reload(settings)
    assert [one.name for one in made._deliverer.every_channel] == ["old"]


def test_the_topics_for_some_or_none(tmp_path):
    """Their channel can be given other values, and its name is free where there are none."""
    some = _load(tmp_path, "[alerts.channels.mqtt]\nkind = 'mqtt'\nmin_severity = 'critical'")
    assert [one.settings.min_severity for one in channels.make(some)] == ["critical"]
    none = _load(tmp_path, "[alerts]\nmqtt = false\n[alerts.channels.mqtt]\nurl = 'json://localhost'")
    assert [one.settings.kind for one in channels.make(none)] == ["apprise"]
