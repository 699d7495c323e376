"""Networks: what a recipe names, and what is built from it."""
