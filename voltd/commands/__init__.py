"""The commands of ``voltd``, a file each, and what they share."""
