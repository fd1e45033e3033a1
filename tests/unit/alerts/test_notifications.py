"""How a message reads, also where there is little room; and that it is no longer than its service takes."""

import datetime as dt
import json
from unittest import mock

import hypothesis
import pytest
from hypothesis import strategies as st

from voltd.alerts import notifications
from voltd.alerts.senders import apprise

AT = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
ID = "0c9a2f6e-3d64-4a43-9b1c-2f8f0a6d9e11"
DISCORD = "discord://1234567890/abcdefghijklmnop"
SMS = f"twilio://AC{'1' * 32}:{'2' * 32}@15551230000/15551230001"


def _row(transition="fired", severity="warning", text="line", *, device="V1", at=AT):
    return notifications.AlertTransition(transition, severity, text, "soc_low", "vehicle", device, None, at)


def _long(count):
    """Rows as a fleet with long names makes them."""
    limit = "soc_low warning: state of charge 12.5 % (limit 15 %)"
    return [
        _row(text=f"vehicle WVWZZZ1KZAW{n:06} (fleet hamburg-north): {limit}", device=f"WVWZZZ1KZAW{n:06}")
        for n in range(count)
    ]


def _sent(url, rows):
    """What goes to the service: the texts of the requests."""
    made = apprise.AppriseSender("one", url)
    answer = mock.Mock(status_code=200, content=b"{}", text="{}", headers={})
    answer.json.return_value = {}
    with mock.patch("requests.post", return_value=answer) as post:
        made.send(notifications.Notification(ID, rows))
    datas = [call.kwargs["data"] for call in post.call_args_list]
    payloads = [json.loads(data) if isinstance(data, str) else data for data in datas]
    return [one.get("content") or one.get("Body") for one in payloads]


def test_how_a_message_reads():
    """One line an alert, whatever is in it; repeated ones say since when; the id comes last."""
    what = notifications.Notification(
        "the-id", [_row(text="a\nb"), _row("repeated", "critical"), _row("resolved", text="over")]
    )
    assert notifications.body(what) == "line (still, since 2026-01-02 03:04 UTC)\na b\nover\nmessage the-id"
    assert notifications.title(what) == "voltd: 3 alerts (1 critical, 1 warning, 1 resolved)"
    assert notifications.worst(what.rows) == "critical"
    assert notifications.worst(what.rows[2:]) is None


def test_what_is_over_and_has_begun_again():
    """The end of the first episode would read as if all were over; another device's end stays."""
    later = AT + dt.timedelta(minutes=5)
    rows = [
        _row(severity="critical", text="V1 low"),
        _row("resolved", "critical", text="V1 low is over"),
        _row("resolved", text="V2 low is over", device="V2"),
        _row(text="V1 low again", at=later),
    ]
    (text,) = _sent(DISCORD, rows)
    assert text.splitlines() == [
        "voltd: 2 alerts (1 warning, 1 resolved)", "V1 low again", "V2 low is over", f"message {ID}",
    ]  # fmt: skip
    (text,) = _sent(DISCORD, [*rows, _row("resolved", text="V1 low again is over", at=later)])
    assert text.splitlines()[1:-1] == ["V1 low again", "V2 low is over", "V1 low again is over"]


@pytest.mark.parametrize("count", [1, 2, 20, 40])
@pytest.mark.parametrize(("url", "most"), [(DISCORD, 2000), (SMS, 160)])
def test_a_service_with_little_room(url, most, count):
    """It gets one message that it takes, with at least one whole line, and how many more there are."""
    rows = _long(count)
    (text,) = _sent(url, rows)
    assert len(text) <= most
    lines = text.splitlines()
    shown = sum(row.message in lines for row in rows)
    assert shown >= 1
    assert (f"and {count - shown} more" in lines) == (shown < count)


def test_the_id_stays_where_there_is_room():
    assert _sent(DISCORD, _long(40))[0].endswith(f"\nmessage {ID}")
    assert _sent(SMS, [_row(text="vehicle V1: low")])[0] == (
        f"voltd: warning: soc_low vehicle V1\r\nvehicle V1: low\nmessage {ID}"
    )


def test_a_url_that_says_what_is_to_become_of_long_messages():
    """Apprise divides them, nothing is left out."""
    texts = _sent(f"{DISCORD}?overflow=split", _long(20))
    assert len(texts) == 2
    assert all(sum(row.message in text for text in texts) == 1 for row in _long(20)[:10])


@hypothesis.given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=200), min_size=1, max_size=30), st.integers(20, 3000)
)
def test_any_room(texts, room):
    """A body is never longer, and says of every alert at least that there is one."""
    what = notifications.Notification(ID, [_row(text=text, device=str(n)) for n, text in enumerate(texts)])
    body = notifications.body(what, room)
    assert len(body) <= room
    if len(texts) > 1 and not body.endswith(ID):
        assert body.endswith(f"and {len(texts) - 1} more")


def test_how_long_an_answer_is_waited_for():
    """Longer than Apprise would, so that a slow service is not notified again; the URL may say otherwise."""

    def waits_s(url):
        plugin = apprise.AppriseSender("one", url)._plugin
        return plugin.socket_connect_timeout, plugin.socket_read_timeout

    assert waits_s("json://localhost") == (4, 20)
    assert waits_s("json://localhost?rto=3&cto=2") == (2, 3)
    assert waits_s("mailto://u:p@example.org")[0] == 20
    assert waits_s("mailto://u:p@example.org?cto=7")[0] == 7
