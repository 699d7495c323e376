"""The report: JSON, terminal table, HTML page."""
