"""Self-play on Ray: the fleet, its workers, inference servers and replay actor."""
