"""Profile a model by operator, and compare with the limits of the machine."""
