"""What the stack says to the person at the terminal instead of a traceback."""


class StackError(Exception):
    """The stack cannot go on; the message is the one line that says why and what to do."""


class PortTaken(StackError):
    """Another program listens on the port of a part that is being started."""

    def __init__(self, message: str, port: int) -> None:
        super().__init__(message)
        self.port = port
