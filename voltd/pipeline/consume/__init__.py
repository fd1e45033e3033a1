"""From the broker to the window: messages arrive here, and are acked here once they are stored."""
