"""The command line, and all that uses Ray or Weights & Biases."""

import os

# Ray reads this when it is imported. Without it Ray prints "worker processes have been started" to
# stdout, in the middle of JSON that another program reads from there, and at the loss of a machine
# lines of its own, up to twenty of a log, where one line of this program names the loss.
SKIPPED = "worker processes have been started|Raylet is terminated|has been marked dead because"
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", SKIPPED)
