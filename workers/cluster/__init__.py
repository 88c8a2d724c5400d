"""Self-play on Ray: the fleet, its supervisor, the nodes and the replay actor."""

import os

# Where a machine is lost, Ray prints twenty lines of a log of its own into the terminal. The run's
# log names the loss. Ray reads the variable when it is imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "Raylet is terminated")
