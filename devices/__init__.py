"""Where it is measured."""
