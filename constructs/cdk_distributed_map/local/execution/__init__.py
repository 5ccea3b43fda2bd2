"""What executions are made of: the frame, its history and clock, the store of executions, the services they call.

It knows the language (`asl`), faults and scripted outcomes. `machines` reads state machines, `runner` runs one: each
state gets a frame, which gives it the services, the clock and the history. Whatever happens is written to the
`history`, from which `descriptions` and `records` make every answer about an execution.
"""
