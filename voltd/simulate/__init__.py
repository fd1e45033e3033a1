"""The simulated fleet and the replay of recordings: everything that publishes, nothing that stores.

``fleet/`` makes readings, ``replay/`` reads them from a recording, ``publish/`` sends both to the broker. The command
lines are ``voltd.commands.simulate`` and ``voltd.commands.replay``.
"""
