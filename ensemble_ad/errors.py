"""Errors that end a command with a sentence and exit status 2."""


class ConfigError(ValueError):
    """An experiment that cannot be run as written: says which key, what was expected and what came."""


class StoreError(RuntimeError):
    """The folder for results cannot be used: full, read-only, or not a folder of ours."""
