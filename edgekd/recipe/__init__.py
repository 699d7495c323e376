"""Recipes: from TOML or flags to one frozen value."""
