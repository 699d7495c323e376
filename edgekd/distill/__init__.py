"""Distillation: losses as pure functions, and the step."""
