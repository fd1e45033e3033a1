"""The daemon as a process: start, watch, stop; its jobs, its health, and what it says of itself."""
