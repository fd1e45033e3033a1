"""The simulated fleet and the replay of recorded readings: everything that publishes, nothing that stores.

``fleet`` and what it is made of (vehicle, meter, path, wire, rubbish) are pure and seeded: no I/O, no clock.
``run`` and ``replay`` give them a clock and a ``publish.Publisher``; ``commands`` gives those a command line.
"""
