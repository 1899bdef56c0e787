"""What stops the stack, said in one line."""


class StackError(Exception):
    """The stack cannot go on; `str(error)` is a one-line cause, `remedy` what to do about it."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.remedy = remedy
