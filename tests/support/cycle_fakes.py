"""What an evaluation cycle needs from a daemon, for tests that run it without one."""


class ThisDaemon:
    """Is as ``look`` reports, never busy and without trouble."""

    def __init__(self, look):
        self.look = look

    def busy(self):
        return False

    def trouble(self):
        return ""


class Notifier:
    """Sends nothing."""

    def wake(self):
        pass

    def send_now(self, rows):
        pass

    def sent_at(self, _channel, _what):
        return None

    def withdraw(self):
        pass
