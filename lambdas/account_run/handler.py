"""The account function: everything is in the runtime, which a layer puts beside it."""

from distmap import account_run as handler

__all__ = ["handler"]
