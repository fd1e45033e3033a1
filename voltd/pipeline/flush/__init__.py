"""From the window to the store: what is written together, decoded ahead, and when nothing more is taken."""
