"""The Lambda side of distmap: capture, process and combine with nothing lost."""
