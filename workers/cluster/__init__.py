"""Self-play on Ray: the fleet, its supervisor, workers, inference servers and replay actor."""
