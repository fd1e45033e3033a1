"""The newest value of each field of each device: its tables and the live topic."""
