"""Self-play in several processes of one machine, which share memory; knows nothing of Ray."""
