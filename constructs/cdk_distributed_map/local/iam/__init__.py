"""Who may do what: roles and their policies, resource policies, condition keys, KMS keys, and ARNs of other places.

It knows executions for their role, and no service. Before a task calls anything, it asks here under the role of its
state machine: `roles` reads its policies and has them evaluated, `conditions` refuses what of them can't be,
`resource_policies` adds what the resource allows, and a refusal goes back as the error that AWS would give.
"""
