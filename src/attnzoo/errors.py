"""The one error class."""


class AttnzooError(ValueError):
    """A wrong argument, input or file: the message says what was expected, what came and what to do."""
