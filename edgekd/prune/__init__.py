"""Structured pruning: the step. The channel groups are in edgekd.networks.channels."""
