"""The capture-input function: everything is in the runtime, which a layer puts beside it."""

from distmap import capture_input as handler

__all__ = ["handler"]
