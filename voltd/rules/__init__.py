"""Rules: readings in, transitions of episodes out. ``voltd/alerts`` notifies people of these.

The path of a rule, file by file. All but reading rules.toml is pure: no I/O, no clock.

- ``load`` reads rules.toml and makes a ``model.Rule`` of each table; ``scope``, ``hours`` and ``charging_status`` are
  parts of one.
- ``cycle`` (live) and ``backtest`` (stored history) make rows for it, by corrected time (``device_clocks``).
- ``evaluate`` takes the rows (``observation``) of all devices, and chooses those that a rule may concern.
- ``one_rule`` evaluates one rule on one device: ``step`` sorts its values (``metric_value``) into live and late ones,
  ``advance`` evaluates a reading, ``confirmation`` says when one is enough, ``late_episodes`` finds past episodes.
- ``inactivity`` is the counterpart of ``step`` for devices that are not heard; ``rhythm`` says after how long.
- The outcome is a state and its transitions (``rule_state``); ``message`` is the line that people read.
"""
