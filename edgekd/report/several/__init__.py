"""Several runs side by side: a table in a terminal and a page."""
