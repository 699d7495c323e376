"""A run from its set-up to the bundle."""
