"""The error of an invalid web configuration."""


class WebConfigError(Exception):
    """The file cannot be used. The text names the key and what was expected, never a secret."""
