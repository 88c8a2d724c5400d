"""Analysis of positions for other programs: lines of JSON, after KataGo's analysis engine.

Requests wait in a queue; positions that are to be searched alike are searched as one batch.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

import alphazero
from alphazero.errors import reason
from alphazero.judging.decisions import Decision, Player
from alphazero.search.tree import Tree
from alphazero.types import Limits
from games.base import Game
from workers.engines.candidates import Candidate, Watch, of_decision, of_tree, texts
from workers.engines.engine import ENDLESS, MOST_SIMULATIONS, log
from workers.engines.inbox import LONGEST, Inbox
from workers.engines.requests import NAMES, Bad, Position, Wishes, identify, parse, read

MOST_WAITING = 4096
"""Positions that wait; while there are more, no line is read."""
MOST_TOGETHER = 200_000
"""Simulations of all positions of a batch: its trees need about 200 MB in chess."""
BATCH = 16
"""Positions of a batch, unless given."""
MOST_WARNINGS = 10
"""Fields of a request about which the program warns."""


class Analysis:
    """The queue of positions, and the answers."""

    def __init__(
        self,
        game: Game,
        player: Player,
        inbox: Inbox,
        say: Callable[[str], None],
        batch: int = BATCH,
    ) -> None:
        self._game, self._player, self._inbox, self._say = game, player, inbox, say
        self._batch, self.points, self.seed = batch, 0.0, 0
        """``points``: a score lead of ``points * value`` is reported; 0: there is none."""
        self._waiting: list[Position] = []
        self._running: list[Position] = []
        self._ended: set[int] = set()
        """The numbers of the running positions that have been terminated."""
        self._actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "query_version": lambda f: self._answer({**f, "version": alphazero.__version__}),
            "clear_cache": self._answer,
            "terminate": lambda f: self._terminate(f, f.get("terminateId")),
            "terminate_all": lambda f: self._terminate(f, None),
        }

    def serve(self) -> None:
        """Answer until the end of the input, and then all that waits."""
        more = True
        while more or self._waiting:
            more = self._receive(wait=not self._waiting)
            if self._waiting:
                self._search(self._next())

    def _receive(self, wait: bool) -> bool:
        """Take the lines that have arrived, as far as there is room; whether there may be more."""
        while (wait or self._inbox.ready()) and len(self._waiting) < MOST_WAITING:
            if (line := self._inbox.get()) is None:
                return False
            if line.strip():
                self._handle(line)
            wait = False
        return True

    def _answer(self, fields: dict[str, Any]) -> None:
        self._say(json.dumps(fields, separators=(",", ":")) + "\n")

    def _handle(self, line: str) -> None:
        """Queue the positions of a request, or do its action; a bad one has an answer that says so.

        The lines before and after it do not matter.
        """
        name: dict[str, Any] = {}
        try:
            if len(line) > LONGEST:
                raise Bad(f"the line is longer than {LONGEST} bytes")
            fields = parse(line)
            name["id"] = identify(fields)
            if (action := fields.get("action")) is not None:
                self._act(action, fields)
                return
            request = read(self._game, fields)
        except Bad as bad:
            field = {} if bad.field is None else {"field": bad.field}
            self._answer({**name, "error": str(bad), **field})
            return
        for field in request.unused[:MOST_WARNINGS]:
            self._answer({**name, "warning": "this field is not used", "field": field})
        self._waiting += request.positions
        self._waiting.sort(key=lambda position: -position.priority)

    def _act(self, action: object, fields: dict[str, Any]) -> None:
        if not isinstance(action, str) or action not in self._actions:
            raise Bad(f"the actions are {', '.join(self._actions)}", "action")
        self._actions[action](fields)

    def _terminate(self, fields: dict[str, Any], which: object) -> None:
        """Drop waiting positions and end running ones, of one request or of all (None)."""
        if which is None and fields.get("action") == "terminate":
            raise Bad("terminate needs the id of a request", "terminateId")
        dropped = [p for p in self._waiting if which in (None, p.id)]
        self._waiting = [p for p in self._waiting if which not in (None, p.id)]
        for position in dropped:
            self._answer({**_head(position, during=False), "noResults": True})
        self._ended |= {k for k, p in enumerate(self._running) if which in (None, p.id)}
        self._answer(fields)

    def _next(self) -> list[Position]:
        """The next positions, which are searched alike; one alone where its time is limited."""
        wishes = self._waiting[0].wishes
        visits = wishes.visits or self._player.limits.simulations or 1
        most = min(self._batch, max(1, MOST_TOGETHER // visits))
        if wishes.seconds or self._player.limits.seconds:
            most = 1
        chosen, rest = [], []
        for position in self._waiting:
            fits = len(chosen) < most and position.wishes == wishes
            (chosen if fits else rest).append(position)
        self._waiting = rest
        return chosen

    def _search(self, positions: list[Position]) -> None:
        """Search positions with equal wishes as one batch, and answer."""
        going = [p for p in positions if self._going(p)]
        for position in positions:
            if not self._going(position):
                self._answer(self._finished(position))
        if not going:
            return
        self._running, self._ended = going, set()
        try:
            decision = self._decide(going)
        except Exception as error:  # a player or a game of the user's own may raise anything
            log.warning("analysis: %s", reason(error))
            for position in going:
                self._answer({"id": position.id, "turnNumber": position.turn,
                              "error": reason(error)})  # fmt: skip
        else:
            for index, position in enumerate(going):
                moves = of_decision(decision, index)
                self._answer(self._result(position, moves, decision, index))
        finally:
            self._running = []

    def _decide(self, positions: list[Position]) -> Decision:
        wishes = positions[0].wishes
        states = np.concatenate([position.states for position in positions])
        rngs = [np.random.default_rng(self.seed) for _ in positions]
        return self._player(
            states, rngs, self._limits(wishes), [position.line for position in positions]
        )

    def _limits(self, wishes: Wishes) -> Limits:
        """The limits of a search, which makes room for many simulations little by little."""
        visits, seconds = wishes.visits, wishes.seconds
        if visits is None and seconds is not None:
            visits = MOST_SIMULATIONS
        if visits is not None and visits > MOST_TOGETHER // BATCH:
            seconds = seconds or ENDLESS
        report = None if wishes.every is None else self._report
        watch = Watch(self._stopped, report, wishes.every or 1.0)
        return Limits(visits, seconds, watch)

    def _stopped(self) -> bool:
        """Whether all running positions are terminated, by the lines received so far."""
        if self._inbox.next() is not None:
            self._receive(wait=False)
        return len(self._ended) == len(self._running)

    def _report(self, tree: Tree) -> None:
        """Answer with what the search has reached so far."""
        for index, position in enumerate(self._running):
            if index not in self._ended:
                moves = of_tree(tree, index)
                self._answer(self._searched(position, moves, None, during=True))

    def _going(self, position: Position) -> bool:
        states, game = position.states, self._game
        over = not np.isnan(game.outcome(states)[0]) or position.turn >= game.max_plies
        return not over

    def _finished(self, position: Position) -> dict[str, Any]:
        """The answer about a game that is over: its result is no estimate."""
        value = float(self._game.result(position.states, position.turn)[0])
        root = self._root(position, 0, value)
        return {**_head(position, during=False), "over": True, "moveInfos": [], "rootInfo": root}

    def _result(
        self, position: Position, moves: list[Candidate], decision: Decision, index: int
    ) -> dict[str, Any]:
        value = None if decision.value is None else float(decision.value[index])
        answer = self._searched(position, moves, value, during=False)
        if position.policy:
            answer["policy"] = self._policy(position, decision, index)
        return answer

    def _searched(
        self, position: Position, moves: list[Candidate], value: float | None, during: bool
    ) -> dict[str, Any]:
        """The answer with the moves that a search has visited, the best one first.

        ``value`` is the root's; by default that of the best move.
        """
        visits = sum(move.visits for move in moves)
        value = moves[0].value if value is None and moves else value or 0.0
        return {
            **_head(position, during),
            "moveInfos": [self._move(position, order, move) for order, move in enumerate(moves)],
            "rootInfo": self._root(position, visits, value),
        }

    def _move(self, position: Position, order: int, move: Candidate) -> dict[str, Any]:
        written = texts(self._game, position.states, move.line, _write)
        return {
            "move": written[0],
            "visits": move.visits,
            **self._values(position, move.value),
            "prior": round(move.prior, 6),
            "order": order,
            "pv": written,
            **({"proven": True} if move.proven else {}),
        }

    def _root(self, position: Position, visits: int, value: float) -> dict[str, Any]:
        side = int(self._game.to_move(position.states)[0])
        values = self._values(position, value)
        return {"currentPlayer": NAMES[side], "visits": visits, **values}

    def _values(self, position: Position, value: float) -> dict[str, float]:
        """A value for the player about to move, as the request has it reported."""
        side = int(self._game.to_move(position.states)[0])
        value = value if position.view in (None, side) else -value
        results = {"winrate": round((value + 1) / 2, 6), "value": round(value, 6)}
        return results | ({"scoreLead": round(self.points * value, 3)} if self.points else {})

    def _policy(self, position: Position, decision: Decision, index: int) -> list[float]:
        """The priors of all actions in their order, without a tree the policy; -1: illegal."""
        legal = self._game.legal(position.states)[0]
        prior = decision.policy if decision.tree is None else decision.tree.prior
        shares = np.zeros(len(legal)) if prior is None else prior[index]
        return [round(float(s), 6) if ok else -1.0 for s, ok in zip(shares, legal, strict=True)]


def _head(position: Position, during: bool) -> dict[str, Any]:
    return {"id": position.id, "turnNumber": position.turn, "isDuringSearch": during}


def _write(game: Game, state: np.void, action: int) -> str:
    return game.move_to_text(state, action)
