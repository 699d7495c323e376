"""The published suites: which networks, how they are timed."""
