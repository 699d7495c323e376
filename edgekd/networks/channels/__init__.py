"""Which channels of a network go together, and networks with fewer of them."""
