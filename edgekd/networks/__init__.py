"""Networks: named in a recipe, built, stored, loaded and edited."""
