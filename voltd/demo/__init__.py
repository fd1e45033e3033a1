"""``voltd demo``: voltd at work on one machine, with real servers.

``environment`` starts servers, schema and daemon, ``facts`` queries broker and database, ``view`` shows the figures.
The fleet is ``voltd.simulate``; the daemon is ``voltd run`` as a process of its own. ``voltd.commands.demo`` runs all.
"""
