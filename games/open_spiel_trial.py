"""Plays a few games of OpenSpiel, in a process that may crash: ``open_spiel_trial.py RULES``.

Prints ``plays``, or in one line why not. The process ends by a signal where OpenSpiel crashes or
needs more than its limits. See ``games.open_spiel_game``, which runs it.
"""

import random
import resource
import sys

SECONDS, BYTES, GAMES, PLIES = 5, 2 * 2**30, 4, 300
"""Limits of computing time and of address space; games, and plies of each, at most."""


def play(rules: str) -> str:
    """The fault of the game, in one line, or ``plays``."""
    import pyspiel

    game, numbers = pyspiel.load_game(rules), random.Random(0)
    for _ in range(GAMES):
        state = game.new_initial_state()
        for _ in range(PLIES):
            if state.is_terminal():
                break
            legal, player = state.legal_actions(), state.current_player()
            if not legal:
                return f"no action is legal after the actions {state.history()}"
            state.observation_tensor(player)
            action = numbers.choice(legal)
            state.action_to_string(player, action)
            state = state.clone()
            state.apply_action(action)
    return "plays"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        said = play(sys.argv[1])
    except Exception as error:
        said = (str(error).strip() or repr(error)).splitlines()[0]
    print(said)


if __name__ == "__main__":
    main()
