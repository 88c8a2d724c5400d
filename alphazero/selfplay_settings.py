"""The settings of self-play: meaning, default and its reason, values of published systems.

Sources: AlphaGo Zero is Silver et al. 2017 (Nature 550), AlphaZero is Silver et al. 2018 (Science
362) with its pseudocode, KataGo is Wu 2019 (arXiv 1902.10565) with its documented methods.
"""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.ranges import STRICT, Bytes, Capacity, Fraction, Natural, NotNegative


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfPlaySettings:
    """Settings of self-play."""

    games: Annotated[int, Field(ge=1, le=2**20)] = 256
    """Games that one group plays at the same time, one ply in all of them per step. Their positions
    form one batch: 256 is enough to use a CPU core or a small GPU well."""
    groups: Annotated[int, Field(ge=1, le=1024)] = 2
    """Groups per search process, or in this process: while the positions of one group are
    evaluated, the search of another group runs. No gain was measured with more than 2."""
    processes: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto"
    """Search processes per machine, beside those that evaluate the network. 0: none; this process
    plays, on threads, and a run can be repeated bit for bit. auto: 0 without Ray on a machine with
    at most four cores and no GPU; elsewhere one per core that is left beside a GPU, or one for two
    cores without one."""
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Threads of self-play in this process; auto: one per core, at most one per group."""
    cache: Capacity = 2**16
    """Capacity of each group's evaluation cache, in positions; a power of two. An entry needs 12
    bytes, the bytes of the position's key and 4 bytes per action. Successive searches evaluate many
    positions again, and games share openings: in Connect Four about 40 % of the lookups are hits.
    Both LocalFleet and the workers on Ray use it; it is cleared when the weights change.
    AlphaZero's papers describe no cache, KataGo has one."""
    memory: Bytes | None = None
    """Bytes, or a text such as 2GB or 2GiB, that search trees, evaluation caches, games in progress
    and requests in shared memory may use in each process of self-play. None: half of the memory of
    the machine or of its control group, a container's limit, divided among the self-play processes
    of the machine. The sizes are announced when a run begins. Where they are too large, the caches
    are halved until all fits; a run that cannot fit is refused."""
    temperature: NotNegative = 1.0
    """Temperature of the choice of moves before ``temperature_plies``: 1 draws moves in proportion
    to the search's visits (with Gumbel it is a factor on the noise), 0 plays the best move. AlphaGo
    Zero and AlphaZero used 1."""
    temperature_plies: Natural = 1000
    """The ply from which on ``final_temperature`` applies; with the default, no game gets there.
    AlphaGo Zero changed after 30 moves, as does AlphaZero's pseudocode."""
    final_temperature: NotNegative = 0.0
    """Temperature from ``temperature_plies`` on. AlphaGo Zero's was infinitesimal."""
    fast_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Playout cap randomization (Wu 2019, section 3.1): the share of moves that are searched with
    ``fast_simulations``, drawn for each move of each game. They have no exploration noise (with
    Gumbel, whose noise has the temperature as its factor, none at ``fast_temperature`` 0). They
    finish games sooner, so that there are more outcomes per evaluation; their positions are not
    trained on and count nowhere as positions. KataGo's is 0.75. The fast moves of a group are
    searched before its other moves: batches are smaller, and ``games`` may be larger. The default,
    0, is AlphaZero's rule: the gain in small games is not measured."""
    fast_simulations: Annotated[int, Field(ge=2, le=10**7)] = 16
    """Simulations of a fast move; fewer than ``search.simulations``. KataGo has 100 beside 600, and
    later 200 beside 1,000."""
    fast_temperature: NotNegative = 0.0
    """The highest temperature of fast moves: at each ply they have this one or that of the other
    moves, whichever is lower. 0: fast moves are the strongest ones, and games differ by their other
    moves and their openings only. With Gumbel, a higher one is a factor on the noise of fast moves,
    which their searches then have, too."""
    random_opening_plies: Natural = 0
    """Each game begins with a random number of random legal plies, 0 to this many, which are not
    trained on. Varied openings keep the games of small games from repeating. AlphaZero has none;
    KataGo draws the first moves from the network's policy."""
    stop_when_proven: bool = True
    """End a game as soon as its search has proven the result, which becomes the game's outcome.
    Needs ``search.proofs``. AlphaZero has no such rule."""
    resign_value: Fraction | None = None
    """Resign when the search's values of a player's last two moves were both below minus this
    number; None: never. AlphaGo Zero chose the threshold so that fewer than 5 % of the resigned
    games could have been won; the metric ``resignation_mistakes`` is this share."""
    resign_disabled_fraction: Fraction = 0.1
    """Share of games in which no player resigns, to measure how many resigned games would not have
    been lost. 0.1 is AlphaGo Zero's."""
    reuse_tree: bool = False
    """Continue each search from the part of the last one below the move that was played. Off,
    because the visits that are kept were chosen without exploration noise at the new root, so that
    the policy targets hold less of it, and because an evaluation cache already saves most of the
    evaluations. What is kept was evaluated by the weights of its time, which may have been replaced
    since. Needs a search that accepts trees: puct. AlphaGo Zero and AlphaZero reuse trees."""


def check_fast_moves(settings: SelfPlaySettings, simulations: int) -> None:
    """``ValueError`` where fast moves are not searched with less than ``simulations``."""
    if settings.fast_fraction and settings.fast_simulations >= simulations:
        raise ValueError(
            f"{simulations} simulations, should be more than selfplay.fast_simulations, which is "
            f"{settings.fast_simulations}"
        )
