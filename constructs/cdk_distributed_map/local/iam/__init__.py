"""Who may do what: roles and their policies, resource policies, condition keys, KMS keys, and ARNs of other places.

Before a task calls anything, it asks here under the role of its state machine. It knows executions for their role, and
no service.
"""
