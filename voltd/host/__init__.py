"""This host: its clock, what speaks for or against that clock, and which of its processes a daemon is."""
