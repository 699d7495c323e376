"""How it is measured: one runner, one timing core, one set of statistics."""
