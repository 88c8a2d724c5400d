"""The search's compiled functions, on the arrays that ``tree.py`` describes.

``attach`` and ``expand`` add nodes (``nodes.py``, with ``backup.py``, ``proofs.py`` and
``softmax.py``); ``select_puct`` and ``select_gumbel`` select (with ``descent.py``); ``roots.py``
orders the roots' edges and reads results, ``reuse.py`` copies subtrees. They contain no rules of a
game and no network.

Parameters that occur throughout:
    nodes [B, N], edges [E], raw [B, N, itemsize], size [B]: the arrays of ``tree.Tree``
    tree, node: indices of a node; edge: an index into ``edges``
    where, row_states: the arrays of ``tree.Rows``
    virtual: whether a tree may have several leaves evaluated at once, with virtual losses

Points of view: a node's sums, value and bounds are for its own mover; those of an edge are for the
mover of the node that it starts from. The sign changes only between nodes with different movers,
because a player may move twice in a row.

Reproducibility: everything is float32, computed in a fixed order and without fastmath. The same
search makes the same visits on every machine, unless a difference in the last bit of the math
library's exponential changes a choice.

Speed: the loops over edges use conditional expressions instead of branches, because the CPU
cannot predict well whether an action has visits or the best score so far.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphazero.search.kernels.compiling import EXPANDED, FINISHED, WAITING
    from alphazero.search.kernels.gumbel import completed_root_values, select_gumbel
    from alphazero.search.kernels.nodes import attach, expand
    from alphazero.search.kernels.puct import draw, mix_noise, prune_forced, select_puct
    from alphazero.search.kernels.reuse import copy_subtree, follow, number_subtree, remove_noise
    from alphazero.search.kernels.roots import best_edges, root_edges, root_priors, shuffle_roots

__all__ = [
    "EXPANDED", "FINISHED", "WAITING",
    "attach", "best_edges", "completed_root_values", "copy_subtree", "draw", "expand", "follow",
    "mix_noise", "number_subtree", "prune_forced", "remove_noise", "root_edges", "root_priors",
    "select_gumbel", "select_puct", "shuffle_roots",
]  # fmt: skip

_MODULES = {
    "compiling": ("EXPANDED", "FINISHED", "WAITING"),
    "gumbel": ("completed_root_values", "select_gumbel"),
    "nodes": ("attach", "expand"),
    "puct": ("draw", "mix_noise", "prune_forced", "select_puct"),
    "reuse": ("copy_subtree", "follow", "number_subtree", "remove_noise"),
    "roots": ("best_edges", "root_edges", "root_priors", "shuffle_roots"),
}
"""The names of each module. No name is that of a module, which would hide it."""
_SOURCES = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> Any:
        """Import a name when it is first used: configurations name searches that never run."""
        if name not in _SOURCES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_SOURCES[name]}"), name)
        globals()[name] = value
        return value
