"""Evaluate files: quality, speed, and whether a step paid."""
