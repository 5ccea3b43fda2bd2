"""What is made for the settings: functions and their layer, permissions, roles, grants, logs, alarms and warnings.

It knows the settings and the CDK, and bundles code. `map_resources` makes what one map needs, once however many state
machines use it; `functions` builds Lambda functions, `account` the account function, `grants` roles and what callers
may do, `observability` alarms and dashboard, `starts` and `run_events` what goes before and after runs, `state_machine`
the machine itself, whose states it is handed.
"""
