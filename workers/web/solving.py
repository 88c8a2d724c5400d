"""The process that proves results of moves: one position from its input, results to its output.

It ends itself at its deadline, also where the server has died or a kernel does not return; its time
on the processor and its memory are limited. On Windows only the server ends it, when the page
leaves.
"""

import json
import signal
import sys

MOST_BYTES = 2**30 * 3 // 2
"""Memory of its data."""
CPU_SECONDS = 10
"""Time on the processor, which a busy machine may give it late."""


def main() -> None:
    """Read ``{"game", "actions", "seconds"}`` in JSON, and write a line of JSON per new result.

    A line maps actions, counted from 1, to ``[result, plies]``, see ``proofs.Proof``.
    """
    wanted = json.load(sys.stdin)
    if sys.platform != "win32":
        _limit(wanted["seconds"])

    import games
    from alphazero.judging import session
    from games.solvers import proofs

    game = games.make(wanted["game"])
    actions = wanted["actions"]
    states = session.after(game, [action + 1 for action in actions]).states
    known = 0
    try:
        for results in proofs.deepening(game, states, len(actions)):
            if len(results) > known:
                known = len(results)
                line = {action + 1: list(proof) for action, proof in results.items()}
                print(json.dumps(line), flush=True)
    except MemoryError:
        pass  # what is proven so far has been written


def _limit(seconds: float) -> None:
    """Let the system end this process after ``seconds``, by SIGALRM, and bound what it uses."""
    import resource  # which Windows has not

    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
