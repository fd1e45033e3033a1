"""The simulated fleet and the replay of recorded readings: everything that publishes, nothing that stores.

``fleet`` and what it is made of (vehicle, meter, path, wire, rubbish) are pure and seeded: no I/O, no clock. ``run``
gives it a clock and a ``publish.Publisher``. A recording comes through ``source`` and ``recording`` (cells, fields);
``plan`` says when its rows go out (span), ``checks`` what will become of them, ``replay`` publishes them. ``commands``
and ``replay_command`` are the command lines.
"""
