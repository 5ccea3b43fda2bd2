"""The state types, one class each."""
