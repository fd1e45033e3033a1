"""From bytes to readings and dead letters. Pure: no I/O, no clock of its own."""
