"""Channel groups: which channels of a network depend on each other, and their removal."""
