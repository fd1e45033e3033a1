"""The simulated fleet in the formats of device families (``voltd simulate --as``).

``vehicles`` and ``meters`` write what these devices write, ``speaker`` says it as they do: everything or what has
changed, retained or not. Written from the families' own code and documentation, apart from what decodes them.
"""
