"""From a batch to the tables: one transaction of readings, dead letters and what the rules look for."""
