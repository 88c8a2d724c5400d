"""The command line, and all that uses Ray or Weights & Biases."""

import os

# Ray reads this when it is imported. Without it Ray prints "worker processes have been started" to
# stdout, in the middle of JSON that another program reads from there, and at the loss of a machine
# twenty lines of a log of its own, where a line of this program names the loss.
SKIPPED = "worker processes have been started|Raylet is terminated"
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", SKIPPED)
