"""The cluster and the command line: the top floor, where Ray and Weights & Biases live."""

import os

# Read when Ray is imported: else it would say so on stdout, amid the JSON that a pipe waits for.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started")
