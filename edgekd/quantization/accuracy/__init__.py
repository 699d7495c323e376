"""Repairs of accuracy: rewrites of the float graph, edits of the plan, and when to use which."""
