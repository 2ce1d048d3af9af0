"""What the stack says to the person at the terminal instead of a traceback."""


class StackError(Exception):
    """The stack cannot go on; the message is the one line that says why and what to do."""
