"""The command line, and all that uses Ray or Weights & Biases."""

import os

# Ray reads this when it is imported. Without it Ray prints "worker processes have been started|Raylet is terminated" to
# stdout, in the middle of JSON that another program reads from there.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started|Raylet is terminated")
