"""Amazon States Language without any execution: paths, intrinsic functions, templates, JSONata, rules of fields.

It knows the errors of the engine and how definitions are walked. Definitions come in as JSON, values and contexts as
plain data, values go out; nothing here waits or calls anything. `json_text` is the one way that JSON is read and
written in the engine.
"""
