"""Self-play on Ray: the fleet, its supervisor, the nodes and the replay actor."""
