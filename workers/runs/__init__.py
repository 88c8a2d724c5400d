"""One training run in its directory: its parts, metrics, matches and exports."""
