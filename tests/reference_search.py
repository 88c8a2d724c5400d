"""A second implementation of both searches: slow, of objects, one position at a time.

Written from the papers: Silver et al. 2018 (AlphaZero: PUCT, Dirichlet noise), Wu 2019 (first-play
urgency, forced playouts), Danihelka et al. 2022 (Gumbel AlphaZero: equations 8, 10, 11, 14, 33).
Scores and priors are float32, so that a near tie is broken as in the kernels. The evaluator's
values should be dyadic: then sums are exact, and their order does not matter. Exact ties: a root's
actions without noise are brought into random order first, and the first of the best ones is taken;
the final choice among the most visited ones is by their value, and again the first.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation, Evaluator
from games.base import Game, States

f32 = np.float32
ZERO = f32(0)


@dataclass
class Edge:
    prior: f32
    child: "Node | None" = None
    visits: int = 0
    waiting: int = 0
    value_sum: f32 = ZERO

    @property
    def begun(self) -> int:
        return self.visits + self.waiting

    @property
    def mean(self) -> f32:
        """The mean value for the mover of the node above; pending simulations count as lost."""
        return (self.value_sum - f32(self.waiting)) / f32(self.begun)


@dataclass
class Node:
    state: States
    mover: int
    outcome: float | None
    value: f32 = ZERO
    logits: list[f32] = field(default_factory=list)
    edges: dict[int, Edge] = field(default_factory=dict)
    visits: int = 0
    waiting: int = 0
    value_sum: f32 = ZERO
    seen: f32 = ZERO
    """The prior mass of the edges visited so far."""
    proven: float | None = None
    """The result for the mover, where it is known."""


Path = list[tuple[Node, Edge]]


class Rules(NamedTuple):
    """The actions that a descent takes, and whether it must wait before it begins."""

    at_root: Callable[[Node], int]
    below: Callable[[Node], int]
    must_wait: Callable[[], bool] = lambda: False


@dataclass
class Reference:
    """A finished search of one position."""

    root: Node
    action: int
    visits: list[int]
    policy: list[float]
    value: f32
    proven: bool


def random_positions(game: Game, number: int, seed: int) -> States:
    """Unfinished positions from random games, all lengths about equally likely."""
    rng, positions = np.random.default_rng(seed), []
    while len(positions) < number:
        line, state = [], game.initial(1)
        while np.isnan(game.outcome(state)[0]):
            line.append(state)
            state = game.step(state, np.array([rng.choice(np.flatnonzero(game.legal(state)[0]))]))
        positions.append(line[rng.integers(len(line))])
    return np.concatenate(positions)


def hashing(game: Game, spread: float = 4.0) -> Evaluator:
    """Logits in ``[-spread, spread)`` and dyadic values: functions of each state's bytes alone.

    Refuses finished games, as every evaluator may.
    """
    weights = np.random.default_rng(20).integers(
        2**64, size=(game.dtype.itemsize, game.num_actions + 1), dtype=np.uint64
    )

    def evaluate(states: States) -> Evaluation:
        assert np.isnan(game.outcome(states)).all(), "a finished game was sent to the evaluator"
        raw = np.frombuffer(states.tobytes(), np.uint8).reshape(len(states), -1)
        mixed = (raw.astype(np.uint64) + np.uint64(1)) @ weights
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        share = (mixed >> np.uint64(52)).astype(np.float32) / 2048 - 1
        value = np.round(share[:, -1] * 64) / 64
        logits = share[:, :-1] * spread
        return Evaluation(logits.astype(np.float32), value.astype(np.float32))

    return evaluate


def puct(
    game: Game,
    state: States,
    search: PUCT,
    evaluate: Evaluator,
    rng: np.random.Generator,
    kept: Node | None = None,
) -> Reference:
    """One position by PUCT, the root's prior mixed with Dirichlet noise.

    ``action`` is the most visited one, as at temperature 0. ``kept``: this position's node in the
    tree of an earlier search, which goes on; its visits count as simulations.
    """
    root = kept if kept is not None and kept.edges else None
    root = root or _expanded(_node(game, state), game, evaluate)
    if search.dirichlet_fraction:
        share = search.dirichlet_fraction
        alpha = search.dirichlet_total / len(root.edges)
        for edge, noise in zip(
            root.edges.values(), rng.dirichlet([alpha] * len(root.edges)), strict=True
        ):
            if _range_of(root, edge)[1] > -1 or not search.proofs:
                edge.prior = f32(f32(1 - share) * edge.prior + share * noise)
        root.seen = _sum(edge.prior for edge in root.edges.values() if edge.visits)
    _shuffle(root, rng)

    k = f32(search.forced_playouts if search.dirichlet_fraction else 0)
    _grow(game, root, _puct_rules(search, k), evaluate, search)
    visits = _visits(game, root)
    choices = _choices(root, search.proofs)
    counts = [n if action in choices else 0 for action, n in enumerate(visits)]
    if not any(counts):
        counts = [int(action in choices) for action in range(game.num_actions)]
    action = max(root.edges, key=lambda action: (counts[action], _value_of(root, action, search)))
    if k and root.edges[action].visits:
        counts = _pruned(root, counts, action, k, search)
    policy = [n / sum(counts) for n in counts]
    value = np.clip(_mean(root), *_range(root)) if search.proofs else _mean(root)
    return Reference(root, action, visits, policy, value, root.proven is not None)


def gumbel(
    game: Game,
    state: States,
    search: Gumbel,
    evaluate: Evaluator,
    rng: np.random.Generator,
    temperature: float = 0.0,
) -> Reference:
    """One position by Gumbel AlphaZero; ``temperature`` scales the root's noise."""
    root = _expanded(_node(game, state), game, evaluate)
    if not temperature:
        _shuffle(root, rng)
    highest = max(root.logits[action] for action in root.edges)
    drawn = (
        temperature * rng.gumbel(size=game.num_actions)
        if temperature
        else np.zeros(game.num_actions)
    )
    scores = {a: f32(root.logits[a] - highest) + f32(drawn[a]) for a in root.edges}
    ranked = sorted(root.edges, key=lambda action: -scores[action])
    considered = ranked[: search.max_considered_actions]
    for action in ranked[search.max_considered_actions :]:
        scores[action] -= f32(1e4)  # searched only after the others are refuted
    halving = _halving(len(considered), search.simulations)
    schedule = [next(halving) for _ in range(search.simulations)]

    def must_wait() -> bool:
        """Survivors are chosen only when no evaluation is pending."""
        return root.waiting > 0 and schedule[root.visits - 1 + root.waiting][1]

    def choose_root(node: Node) -> int:
        bonus = _bonus(node, search)
        required, _ = schedule[sum(edge.begun for edge in node.edges.values())]
        left = [a for a in node.edges if not is_refuted(a)]
        ready = [a for a in left if node.edges[a].begun == required]
        return max(ready or left, key=lambda action: scores[action] + bonus[action])

    def is_refuted(action: int) -> bool:
        return search.proofs and _range_of(root, root.edges[action])[1] == -1

    def choose_below(node: Node) -> int:
        begun = sum(edge.begun for edge in node.edges.values())
        policy = _improved(node, _bonus(node, search))
        share = {a: policy[a] - f32(e.begun) / f32(1 + begun) for a, e in node.edges.items()}
        return max(share, key=lambda action: share[action])

    rules = Rules(choose_root, choose_below, must_wait)
    _grow(game, root, rules, evaluate, search)
    visits, bonus, choices = (
        _visits(game, root),
        _bonus(root, search),
        _choices(root, search.proofs),
    )
    most = max(visits[a] for a in choices)
    finalists = [a for a in root.edges if a in choices and visits[a] == most]
    weights = {a: math.exp(root.logits[a] - highest + bonus[a]) for a in choices}
    policy = [weights.get(a, 0.0) / sum(weights.values()) for a in range(game.num_actions)]
    action = max(finalists, key=lambda action: scores[action] + bonus[action])
    scale = search.value_scale * (search.visit_offset + max(visits))
    value = sum(policy[a] * float(bonus[a]) / scale for a in root.edges)
    value = np.clip(f32(value), *_range(root)) if search.proofs else f32(value)
    return Reference(root, action, visits, policy, value, root.proven is not None)


def _puct_rules(search: PUCT, k: f32) -> Rules:
    """The selection of PUCT, with playouts forced by ``k`` at the root."""

    def choose(node: Node) -> int:
        total = node.visits + node.waiting
        growth = math.log((total + search.c_base + 1) / search.c_base)
        explore = f32((search.c_puct + growth) * math.sqrt(total))
        unseen = node.value_sum / f32(node.visits) - f32(search.fpu_reduction) * np.sqrt(
            max(node.seen, ZERO)
        )

        def score(edge: Edge) -> f32:
            if _range_of(node, edge)[1] == -1 and search.proofs:
                return f32(-1e30)
            mean = edge.mean if edge.begun else unseen
            return mean + explore * edge.prior / f32(1 + edge.begun)

        return max(node.edges, key=lambda action: score(node.edges[action]))

    def choose_root(node: Node) -> int:
        total = f32(sum(edge.begun for edge in node.edges.values()))
        for action, edge in node.edges.items():
            if edge.visits and f32(edge.begun) ** 2 < k * edge.prior * total:
                return action
        return choose(node)

    return Rules(choose_root if k else choose, choose)


def _pruned(root: Node, counts: list[int], best: int, k: f32, search: PUCT) -> list[int]:
    """``counts`` without forced playouts: Wu 2019, section 3.2, every number tried."""
    growth = math.log((root.visits + search.c_base + 1) / search.c_base)
    explore = f32((search.c_puct + growth) * math.sqrt(root.visits))
    total = f32(sum(edge.visits for edge in root.edges.values()))

    def score(edge: Edge, visits: int) -> f32:
        return edge.value_sum / f32(edge.visits) + explore * edge.prior / f32(1 + visits)

    highest, left = score(root.edges[best], root.edges[best].visits), list(counts)
    for action, edge in root.edges.items():
        if action != best and counts[action] and edge.visits and edge.prior:
            most = min(counts[action], int(np.sqrt(k * edge.prior * total)))
            fits = [n for n in range(1, most + 1) if score(edge, counts[action] - n) < highest]
            left[action] -= max(fits, default=0)
            left[action] *= left[action] > 1
    return left


def _shuffle(root: Node, rng: np.random.Generator) -> None:
    """Bring the root's actions into random order: SplitMix64, Fisher and Yates."""
    number, actions = int(rng.random() * 2**53), list(root.edges)
    for last in reversed(range(1, len(actions))):
        number = (number + 0x9E3779B97F4A7C15) % 2**64
        mixed = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        other = ((mixed ^ mixed >> 31) >> 32) * (last + 1) >> 32
        actions[last], actions[other] = actions[other], actions[last]
    root.edges = {action: root.edges[action] for action in actions}


def _value_of(root: Node, action: int, search: PUCT) -> float:
    """The mean of an action within its proven bounds; below all values where it has no visits."""
    edge = root.edges[action]
    if not edge.visits:
        return -2.0
    return float(np.clip(edge.mean, *_range_of(root, edge)) if search.proofs else edge.mean)


def _halving(actions: int, simulations: int) -> Iterator[tuple[int, bool]]:
    """Sequential halving: the visits that each next action to search must already have, and
    whether a phase begins there that has fewer survivors than the one before."""
    if actions == 1:
        yield from ((visits, False) for visits in count())
    phases, done, before = math.ceil(math.log2(actions)), 0, actions
    while True:
        rounds = max(1, math.floor(simulations / (phases * actions)))
        for place in range(rounds * actions):
            yield done + place // actions, place == 0 and actions < before
        done, before, actions = done + rounds, actions, max(2, actions // 2)


def _bonus(node: Node, search: Gumbel) -> dict[int, f32]:
    """sigma(completed Q), equation 8 on equation 10, with the mixed value of equation 33."""
    seen = {action: edge for action, edge in node.edges.items() if edge.begun}
    mixed, most = node.value, 0
    if seen:
        begun, most = (f(edge.begun for edge in seen.values()) for f in (sum, max))
        mass = _sum(edge.prior for edge in seen.values())
        weighted = _sum(edge.prior * edge.mean for edge in seen.values())
        if mass:
            mixed = (node.value + f32(begun) * weighted / mass) / f32(1 + begun)
    scale = f32(f32(search.value_scale) * (f32(search.visit_offset) + f32(most)))
    return {a: scale * (edge.mean if a in seen else mixed) for a, edge in node.edges.items()}


def _improved(node: Node, bonus: dict[int, f32]) -> dict[int, f32]:
    """softmax(logits + bonus), equation 11, by way of the prior."""
    highest = max(bonus.values())
    priors = {action: max(edge.prior, f32(1e-12)) for action, edge in node.edges.items()}
    weights = {a: prior * f32(math.exp(bonus[a] - highest)) for a, prior in priors.items()}
    total = _sum(weights.values())
    return {action: weight / total for action, weight in weights.items()}


def _grow(game: Game, root: Node, rules: Rules, evaluate: Evaluator, search: PUCT | Gumbel) -> None:
    """Run all simulations, several per round: a round's leaves are evaluated after its descents.

    A descent that ends at an edge or node that waits for its evaluation ends the round.
    """
    simulations = search.simulations
    _visit_win(game, root, search)
    begun = min(root.visits - 1, simulations - 1)  # at least one more
    while begun < simulations and root.proven is None:
        quota, paths = min(search.leaves, simulations - begun), []
        while len(paths) < quota:
            path = [] if rules.must_wait() else _descend(root, rules)
            if not path or _waits(path[-1][1]):
                break
            _mark(path, +1)
            end = path[-1][1].child
            if end is None:
                paths.append(path)
            else:  # its result is known without an evaluation
                _back_up(path, end, f32(end.proven))
                begun += 1
                quota = min(quota, simulations - begun)
        begun += len(paths)
        ends = [(path, _child(game, path, search.look_ahead)) for path in paths]
        for path, end in ends:
            if end.outcome is not None:
                _back_up(path, end, f32(end.outcome))
                if search.proofs:
                    _conclude(path)
        for path, end in ends:
            if end.outcome is None:
                _back_up(path, _expanded(end, game, evaluate, visit=False), end.value)


def _descend(root: Node, rules: Rules) -> Path:
    path: Path = []
    node = root
    while node is not None and node.edges and node.proven is None:
        edge = node.edges[(rules.below if path else rules.at_root)(node)]
        path.append((node, edge))
        node = edge.child
    return path


def _waits(edge: Edge) -> bool:
    unknown = edge.child is None or edge.child.proven is None
    return unknown and edge.waiting > 0


def _mark(path: Path, change: int) -> None:
    for node, edge in path:
        if not edge.begun:
            node.seen += edge.prior
        node.waiting += change
        edge.waiting += change


def _child(game: Game, path: Path, look_ahead: bool) -> Node:
    node, edge = path[-1]
    if edge.child is None:
        action = next(action for action, other in node.edges.items() if other is edge)
        edge.child = new = _node(game, game.step(node.state, np.array([action])))
        if look_ahead and new.outcome is None and _wins_at_once(game, new):
            new.outcome = new.proven = 1.0
    return edge.child


def _wins_at_once(game: Game, node: Node) -> list[int]:
    """The actions that win at once."""
    wins = []
    for action in np.flatnonzero(game.legal(node.state)[0]):
        end = _node(game, game.step(node.state, np.array([action])))
        if end.outcome == (1 if end.mover == node.mover else -1):
            wins.append(action)
    return wins


def _visit_win(game: Game, root: Node, search: PUCT | Gumbel) -> None:
    """With a look ahead, visit the move of the highest prior that wins at once, if one does."""
    wins = _wins_at_once(game, root) if search.look_ahead else []
    ranked = sorted(root.edges, key=lambda action: -root.edges[action].prior)
    for action in [action for action in ranked if action in wins][:1]:
        path = [(root, root.edges[action])]
        _mark(path, +1)
        end = _child(game, path, False)
        _back_up(path, end, f32(end.outcome))
        _conclude(path)


def _back_up(path: Path, end: Node, value: f32) -> None:
    """Add a visit up to the root; above a node whose result is proven, the value is that result."""
    _mark(path, -1)
    end.visits += 1
    end.value_sum += value
    mover = end.mover
    for node, edge in reversed(path):
        edge.visits += 1
        node.visits += 1
        edge.value_sum += value if node.mover == mover else -value
        if node.proven is not None:
            value, mover = f32(node.proven), node.mover
        node.value_sum += value if node.mover == mover else -value


def _conclude(path: Path) -> None:
    """Propagate the finished game at the end of a path to its nodes; then compute all sums anew."""
    for node, edge in reversed(path):
        low, high = _range(node)
        if low == high:
            node.proven = low
        if edge.child.proven == (-1 if edge.child.mover == node.mover else 1):
            node.seen -= edge.prior
            edge.prior = ZERO
    _recount(path[0][0])


def _range(node: Node) -> tuple[float, float]:
    """The bounds proven for a node's result, for its mover (minimax)."""
    if node.proven is not None:
        return node.proven, node.proven
    ranges = [_range_of(node, edge) for edge in node.edges.values()] or [(-1, 1)]
    return max(low for low, _ in ranges), max(high for _, high in ranges)


def _range_of(node: Node, edge: Edge) -> tuple[float, float]:
    """The bounds proven for the result of one action of the node, for the node's mover."""
    if edge.child is None:
        return -1, 1
    low, high = _range(edge.child)
    return (low, high) if edge.child.mover == node.mover else (-high, -low)


def _recount(node: Node) -> f32:
    """The sum of a node's values, as if every visit of a proven node had had the proven result."""
    for edge in node.edges.values():
        if edge.child is not None:
            total = _recount(edge.child)
            edge.value_sum = total if edge.child.mover == node.mover else -total
    if node.proven is not None:
        node.value_sum = f32(node.proven) * f32(node.visits)
    elif node.edges:
        node.value_sum = node.value + _sum(edge.value_sum for edge in node.edges.values())
    return node.value_sum


def _choices(root: Node, proofs: bool) -> list[int]:
    """The actions that proven bounds do not rule out; all, where nothing is proven."""
    if not proofs:
        return list(root.edges)
    ranges = {action: _range_of(root, edge) for action, edge in root.edges.items()}
    low, high = _range(root)
    if low == high:
        return [action for action, bounds in ranges.items() if bounds == (low, low)]
    if low == -1:
        return [action for action, (_, best) in ranges.items() if best > -1]
    return [action for action, (worst, best) in ranges.items() if worst == low or best > low]


def _node(game: Game, state: States) -> Node:
    outcome = float(game.outcome(state)[0])
    mover = int(game.to_move(state)[0])
    if math.isnan(outcome):
        return Node(state, mover, None)
    return Node(state, mover, outcome, proven=outcome)


def _expanded(node: Node, game: Game, evaluate: Evaluator, visit: bool = True) -> Node:
    evaluation = evaluate(node.state)
    node.logits, node.value = list(evaluation.logits[0]), evaluation.value[0]
    legal = [int(action) for action in np.flatnonzero(game.legal(node.state)[0])]
    highest = max(node.logits[action] for action in legal)
    weights = {a: f32(math.exp(node.logits[a] - highest)) for a in legal}
    total = _sum(weights.values())
    node.edges = {action: Edge(weights[action] / total) for action in legal}
    if visit:
        _back_up([], node, node.value)
    return node


def _visits(game: Game, root: Node) -> list[int]:
    return [root.edges[a].visits if a in root.edges else 0 for a in range(game.num_actions)]


def _mean(root: Node) -> f32:
    return root.value_sum / f32(root.visits)


def _sum(terms) -> f32:
    total = f32(0)
    for term in terms:
        total += term
    return total
