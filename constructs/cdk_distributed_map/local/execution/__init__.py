"""What executions are made of: the frame, its history and clock, the store of executions, the services they call.

It knows errors and JSON alone. A state gets a frame, which gives it the services, the clock and the history; whatever
happens is written to the history, from which every answer about an execution is made.
"""
