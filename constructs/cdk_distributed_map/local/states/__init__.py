"""The state types of the Amazon States Language, one class each.

A state is compiled once from its fields and run by the program with a frame. It knows the language (`asl`), executions
and tasks; the Distributed Map, which holds states itself, is a room of its own.
"""
