"""Networks by name: builders that return an nn.Module."""
