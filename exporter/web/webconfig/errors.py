"""What is raised for a web configuration that can't be used."""


class WebConfigError(Exception):
    """The file can't be used; the text names the key and what was expected, never a secret."""
