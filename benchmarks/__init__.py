"""Measure models: the schedule, the runner that times calls, the session and its statistics."""
