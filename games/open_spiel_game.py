"""Games of OpenSpiel: two players, zero-sum, sequential, without chance or hidden information.

``pip install 'distributed-alphazero[open-spiel]'`` installs the library (Lanctot et al. 2019,
"OpenSpiel: a framework for reinforcement learning in games"). ``docs/games/open_spiel.md`` lists
the games that fit.

OpenSpiel is C++, where bad parameters can end the process or fill memory: ``connect_four(rows=0)``
crashes, ``mnk(m=100000,n=100000)`` does not come to an end. A configuration may come from anyone.
So names and types of parameters are compared with the game's own specification, and a game with
parameters is first played in a process of its own with limits, ``open_spiel_trial.py``.
"""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.environment_copies import first_line
from games.replayed import Position, ReplayedGame, layout
from games.spec import nearest, parse_call, plain_call, shown, suggest

INSTALL = "pip install 'distributed-alphazero[open-spiel]'"
DEFAULT_PLIES = 512
"""The default of ``max_plies``."""
LARGEST = 10_000
"""The largest number that a parameter may have; the smallest is 0."""
TRIAL_SECONDS = 120
"""Seconds that a trial may take, beside the limit of its own of 5 seconds of computing time."""
STATE_BYTES, PLY_BYTES, NUMBER_BYTES = 500, 176, 12
"""An upper bound on the size of OpenSpiel's states: bytes of each, per ply, per number of the
observation. Measured for every game that fits; states remember their moves, some positions too."""
COMPACT = {"antichess", "chess", "crazyhouse", "hive", "shogi", "xiangqi"}
"""Games of many planes whose states, of 1,100 bytes at most at the start, do not grow with them."""

_TEXT = re.compile(r"[\w;./ +-]{0,200}")


class OpenSpielGame(ReplayedGame):
    """A game of OpenSpiel for two without chance and secrets: open_spiel:hex(board_size=5)."""

    keyless = "rules"

    def __init__(self, rules: str = "tic_tac_toe", max_plies: int = DEFAULT_PLIES):
        """``rules``: the game's name in OpenSpiel, its parameters in parentheses.

        ``max_plies``: games as long as this are drawn, where OpenSpiel would go on. ``ValueError``,
        one line: OpenSpiel is not installed, there is no such game, it does not fit the contract,
        or OpenSpiel does not accept the parameters.
        """
        rules = plain_call(rules)
        self.name = f"open_spiel:{rules}"
        if max_plies != DEFAULT_PLIES:
            self.name += f",max_plies={max_plies}"
        self._rules = _load(rules)
        first = self._rules.new_initial_state()
        self._first = first.current_player()
        *_, height, width = shape = layout(tuple(self._rules.observation_tensor_shape()))
        planes = (shape[0] + 1, height, width)
        longest = self._rules.max_game_length()
        self._lay_out(
            (rules, max_plies), self._rules.num_distinct_actions(), longest, max_plies, planes
        )
        from open_spiel.python.observation import make_observation

        self._observer: Any = make_observation(self._rules)
        per_number = 1 if parse_call(rules)[0] in COMPACT else NUMBER_BYTES
        self._state_bytes = STATE_BYTES + per_number * int(np.prod(planes))
        self._start = self._position(first, 1)
        if self._start.mover or not len(self._start.legal):
            raise ValueError(f"{self.name}: no move is possible in the starting position")

    def _begin(self) -> Position:
        return self._start

    def _play(self, position: Position, action: int) -> Position:
        inner = position.inner.clone()
        inner.apply_action(action)
        return self._position(inner, position.mover)

    def _position(self, inner: Any, mover: int) -> Position:
        """The position of a state after a move of player ``mover``.

        Player 0 is the one who begins; in OpenSpiel that is player 1 in chess, for example.
        """
        if inner.is_terminal():
            mover = 1 - mover
            outcome = float(np.sign(inner.returns()[mover ^ self._first]))
            return Position(inner, mover, np.empty(0, self._move), outcome)
        legal = np.array(inner.legal_actions(), self._move)
        if not len(legal):
            line = inner.history()
            raise ValueError(f"{self.name}: no action is legal after the actions {line}")
        return Position(inner, inner.current_player() ^ self._first, legal, np.nan)

    def _size(self, position: Position, plies: int) -> int:
        return self._state_bytes + PLY_BYTES * plies

    def _observe(self, position: Position, out: NDArray[np.float32]) -> None:
        """OpenSpiel's tensor as the mover sees it, and a plane of ones where player 1 moves.

        Many of OpenSpiel's tensors show the same numbers to both players.
        """
        self._observer.set_from(position.inner, position.mover ^ self._first)
        out[:-1] = self._observer.tensor.reshape(out[:-1].shape)
        out[-1] = position.mover

    def _render(self, position: Position) -> str:
        return str(position.inner)

    def move_to_text(self, state: np.void, action: int) -> str:
        """OpenSpiel's own notation without spaces; a number from 1 to ``A`` where it has none.

        Numbers where there are fewer than ten actions, so that a line of moves is a row of digits.
        """
        return self._texts(state)[action]

    def text_to_move(self, state: np.void, text: str) -> int:
        """The action of this text in the position, or of this number from 1 to ``A``."""
        texts = self._texts(state)
        key = _joined(text)
        for action, written in texts.items():
            if written == key:
                return action
        if key.isascii() and key.isdigit():
            return self.text_to_action(key)
        near = ", ".join(nearest(key[:100], texts.values(), 5))
        raise ValueError(f"{key[:100]!r} is not a move here; the nearest are {near}")

    def _texts(self, state: np.void) -> dict[int, str]:
        """The legal actions with their texts, all different and none a number of another action."""
        with self._lock:
            position = self._position_of(state)
            legal = position.legal.tolist()
            if self.num_actions < 10:
                return {action: self.action_to_text(action) for action in legal}
            player = position.mover ^ self._first
            texts = [_joined(position.inner.action_to_string(player, move)) for move in legal]
        return {
            action: self.action_to_text(action)
            if not text or text.isdigit() or texts.count(text) > 1
            else text
            for action, text in zip(legal, texts, strict=True)
        }


def _joined(text: str) -> str:
    """``text`` without spaces: ``"X From (7, 1)"`` is ``"X_From_(7,1)"``, one word of a line."""
    return "_".join(re.sub(r"([,;:])\s+", r"\1", text).split())


def _library() -> Any:
    try:
        import pyspiel
    except ImportError as error:
        raise ValueError(f"games of OpenSpiel need the library: {INSTALL} ({error})") from None
    return pyspiel


@functools.lru_cache(maxsize=64)
def _load(rules: str) -> Any:
    """The library's game; ``ValueError``, one line, where it does not fit or is refused."""
    name, arguments = parse_call(rules)
    library = _library()
    kinds = {kind.short_name: kind for kind in library.registered_games()}
    if name not in kinds:
        hint = suggest(name, kinds) if len(name) < 50 else f"it has {len(kinds)} others"
        if "did you mean" not in hint:
            hint = f"it has {', '.join(nearest(name[:50], kinds, 5))} and more"
        raise ValueError(f"OpenSpiel has no game {shown(name)}; {hint}")
    kind = kinds[name]
    if reason := _misfit(kind):
        raise ValueError(f"open_spiel:{name} is no game for two players here: {reason}")
    specified = kind.parameter_specification
    given = {key: _value(name, key, text, specified) for key, text in arguments.items()}
    if "ansi_color_output" in specified:
        given.setdefault("ansi_color_output", False)
    if arguments:
        _try(name, library.game_parameters_to_string({"name": name, **given}))
    try:
        game = library.load_game(name, given)
    except Exception as error:
        raise ValueError(f"open_spiel:{name} cannot be loaded: {first_line(error)}") from None
    if game.num_players() != 2:
        raise ValueError(f"open_spiel:{rules} has {game.num_players()} players, not 2")
    return game


def _misfit(kind: Any) -> str:
    """Why a game of this type does not fit the contract; empty where it does."""
    if kind.dynamics != kind.Dynamics.SEQUENTIAL:
        return "players move at the same time"
    if not kind.min_num_players <= 2 <= kind.max_num_players:
        return f"it has {kind.min_num_players} to {kind.max_num_players} players"
    if kind.chance_mode != kind.ChanceMode.DETERMINISTIC:
        return "it has chance"
    if kind.information != kind.Information.PERFECT_INFORMATION:
        return "a player does not see everything"
    if kind.utility != kind.Utility.ZERO_SUM:
        return "it is not zero-sum"
    if not kind.default_loadable:
        return "it is made from another game"
    return "" if kind.provides_observation_tensor else "it has no observation as numbers"


def _value(name: str, key: str, text: str, specified: dict[str, Any]) -> Any:
    """A parameter's value, of the type that the game's specification gives."""
    if key not in specified:
        raise ValueError(
            f"open_spiel:{name} has no parameter {shown(key)}; {suggest(key, specified)}"
        )
    default = specified[key]
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        right = "true or false"
    elif isinstance(default, int | float):
        whole = isinstance(default, int)
        written = r"\d{1,9}" if whole else r"\d{1,9}(\.\d{1,9})?"
        if re.fullmatch(written, text) and float(text) <= LARGEST:
            return type(default)(text)
        right = f"a{' whole' * whole} number from 0 to {LARGEST}"
    elif isinstance(default, str):
        if _TEXT.fullmatch(text):
            return text
        right = "a text of at most 200 letters, digits, spaces and ; . / + -"
    else:
        right = "left out: it is a game"
    raise ValueError(f"open_spiel:{name}: {key} must be {right}, not {shown(text)}")


@functools.lru_cache(maxsize=64)
def _try(name: str, text: str) -> None:
    """Play the game in a process of its own; ``ValueError``, one line, where that ends badly."""
    trial = Path(__file__).with_name("open_spiel_trial.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        ended = subprocess.run(
            [sys.executable, "-P", str(trial), text],
            capture_output=True, text=True, errors="replace", timeout=TRIAL_SECONDS,
            env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(f"open_spiel:{text}: a first game takes too long") from None
    if ended.returncode < 0:
        raise ValueError(f"open_spiel:{text}: OpenSpiel crashes with it, or takes too long")
    said = ended.stdout.strip().splitlines()
    if said != ["plays"]:
        reason = said[-1] if said else first_line(RuntimeError(ended.stderr or "it ended"))
        raise ValueError(f"open_spiel:{name} cannot be played so: {reason}")
