"""The simulated fleet: what its devices do (``fleet``, pure and seeded), and ``run``, which publishes it."""
