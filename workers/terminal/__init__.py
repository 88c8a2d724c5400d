"""Output to a terminal: progress bars, the dashboard, tables, notices."""
