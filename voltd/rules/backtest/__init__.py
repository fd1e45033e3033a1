"""Rules over stored history, for ``voltd rules test``.

``history`` reads rows, ``stored_readings`` puts readings in order, ``episodes`` evaluates with the same ``advance`` and
``inactivity`` as the daemon.
"""
