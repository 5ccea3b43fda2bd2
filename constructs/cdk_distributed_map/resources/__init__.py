"""What is made for the settings: functions and their layer, permissions, roles, grants, logs, alarms and warnings.

It knows the settings and the CDK. `map_resources` makes what one map needs, once however many state machines use it;
`functions` builds Lambda functions, `permissions` holds every statement of every policy, `grants` what callers may do,
`observability` logs, alarms and dashboard, `synthesis_warnings` what is legal but risky.
"""
