"""Samples, splits and preprocessing."""
