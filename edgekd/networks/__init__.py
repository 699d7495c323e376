"""Networks: how they are built, loaded, edited, cut and deployed."""
