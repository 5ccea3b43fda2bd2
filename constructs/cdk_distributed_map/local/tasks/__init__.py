"""What a Task state can call."""
