"""Structured pruning: the step; which channels go is in edgekd.networks.channels."""
