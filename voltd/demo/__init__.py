"""``voltd demo``: the main job on one machine, private and real, for people who want to see it work first.

``commands`` parses and runs, ``stage`` puts servers, schema and daemon up, ``facts`` asks broker and database what is
true, ``view`` shows it. The fleet is ``voltd.simulate``; the daemon is ``voltd run`` as a process of its own.
"""
