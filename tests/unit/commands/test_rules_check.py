"""``voltd rules check``: a table with a line for each rule, or what is wrong with the file."""

from support.rules import daemons
from voltd import cli, resources

HOT = """
[rules.hot]
metric = "battery_temp_c"
applies_to = ["vehicle"]
fire_above = 80.0
for_s = 60
keep_firing_for_s = 30
enabled = false
"""
RULES = HOT + daemons.INGEST_LAG + 'severity = "critical"\n'


def test_each_rule_is_a_line_in_plain_words(tmp_path, capsys):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    assert cli.main(["rules", "check", str(path)]) == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "RULE FOR FIRES WHEN RESOLVES WHEN SEVERITY",
        "hot vehicle battery temperature over 80 °C for 60 s not over 80 °C, 30 s later warning switched off",
        "ingest_lag system messages waiting for over 30 s, or spool in use below 5 s critical",
    ]


def test_columns_are_aligned(capsys):
    assert cli.main(["rules", "check", str(resources.share("config") / "rules.toml")]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    for column in ("FOR", "FIRES WHEN", "RESOLVES WHEN", "SEVERITY"):
        at = head.index(column)
        assert {(line[at - 2 : at], line[at].isspace()) for line in lines} == {("  ", False)}


def test_a_bad_file_says_rule_key_value_and_what_is_allowed(tmp_path, capsys):
    path = tmp_path / "rules.toml"
    path.write_text(RULES.replace("for_s = 60", 'for_s = "long"'))
    assert cli.main(["rules", "check", str(path)]) == 78
    assert f"{path}: rule hot: for_s = 'long': should be a number" in capsys.readouterr().err
