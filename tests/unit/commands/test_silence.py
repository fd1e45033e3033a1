"""``voltd alerts silence`` checks its arguments before it asks the database."""

import pytest

from voltd import cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--for", "2h"), "this would silence every alert"),
        (("--all", "--rule", "stale", "--for", "2h"), "contradict each other"),
        (("--rule", "stale", "--until", "2020-01-01T00:00Z"), "would be over already"),
        (("--rule", "stale", "--until", "9999-01-01T00:00Z"), "within 10 years"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_a_database(monkeypatch, capsys, words, said):
    monkeypatch.setenv("VOLTD_DATABASE__DSN", "host=127.0.0.1 port=1 dbname=none")
    assert cli.main(["alerts", "silence", *words, "--comment", "road works"]) == 2
    assert said in capsys.readouterr().err
