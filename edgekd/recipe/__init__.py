"""Recipes: TOML to one frozen value, overrides, and recipes made from flags."""
