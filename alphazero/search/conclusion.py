"""The result of a search, read from the roots of its trees: the same for all algorithms."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.search import kernels
from alphazero.search.tree import Tree
from alphazero.types import SearchResult

ROOT_EDGE = np.dtype(
    [
        ("visits", np.int32),
        ("value", np.float32),
        ("legal", np.bool_),
        ("lower", np.int8),
        ("upper", np.int8),
    ],
    align=True,
)


class Roots(NamedTuple):
    """The statistics of ``B`` roots; all values are for the root's mover."""

    legal: NDArray[np.bool_]
    """``[B, A]``."""
    visits: NDArray[np.int32]
    """``[B, A]``."""
    action_value: NDArray[np.float32]
    """``[B, A]``: means over visits, within the proven bounds; NaN where unvisited."""
    value: NDArray[np.float32]
    """``[B]``: the mean over all visits of the root."""
    undominated: NDArray[np.bool_]
    """``[B, A]``: see ``undominated``."""


def read_roots(tree: Tree) -> Roots:
    """The statistics of all roots after a search."""
    table = np.zeros(tree.prior.shape, ROOT_EDGE)
    table["lower"], table["upper"], table["value"] = -1, 1, np.nan
    kernels.root_edges(tree.nodes, tree.edges, table)
    roots = tree.nodes[:, 0]
    lower, upper = roots["lower"][:, None], roots["upper"][:, None]
    return Roots(
        legal=table["legal"],
        visits=table["visits"].copy(),
        action_value=table["value"].copy(),
        value=(roots["value_sum"] / roots["visits"]).astype(np.float32),
        undominated=table["legal"] & undominated(table["lower"], table["upper"], lower, upper),
    )


def undominated(
    lower: NDArray[np.int8],
    upper: NDArray[np.int8],
    node_lower: NDArray[np.int8],
    node_upper: NDArray[np.int8],
) -> NDArray[np.bool_]:
    """True for the actions that proven bounds do not rule out; arrays that broadcast.

    The node's bounds are [lower, upper]. An action is kept if it may still turn out better than
    ``lower``, or if it is proven to reach ``lower``. With ``lower`` = -1 a lost action reaches it,
    too, but is kept only if the node itself is proven lost. Examples, bounds for the node's mover:

        a [-1, -1]  b [0, 1]  c [-1, 1]   node [0, 1]: b and c are kept
        a [0, 0]    b [0, 1]  c [-1, 0]   node [0, 1]: a and b are kept
        a [-1, -1]  b [-1, 1]             node [-1, 1]: b is kept
        a [-1, -1]  b [-1, -1]            node [-1, -1]: both are kept

    At least one legal action of every node is kept.
    """
    reaches_lower = (lower == node_lower) & ((lower > -1) | (node_upper == -1))
    return reaches_lower | (upper > node_lower)


def conclude(
    tree: Tree,
    roots: Roots,
    action: NDArray[np.int64],
    policy: NDArray[np.float32],
    value: NDArray[np.float32],
) -> SearchResult:
    """The result of a search that plays ``action [B]``.

    ``value [B]`` is clipped to the proven bounds.
    """
    lower, upper = tree.nodes[:, 0]["lower"], tree.nodes[:, 0]["upper"]
    return SearchResult(
        action=action,
        policy=policy,
        value=np.clip(value, lower, upper),
        visits=roots.visits,
        action_value=roots.action_value,
        proven=lower == upper,
        version=min(tree.version, int(tree.earlier.min())),
        prior=tree.prior,
        tree=tree,
    )


def merge(results: Sequence[SearchResult], rows: Sequence[NDArray[np.intp]]) -> SearchResult:
    """One result for ``B`` positions from those of its parts, each a search of some of them.

    Row ``i`` of ``results[k]`` becomes row ``rows[k][i]``; each of 0 to ``B - 1`` occurs once. The
    version is the oldest one. Of several parts there is no ``tree``.
    """
    if len(results) == 1:
        return results[0]
    order = np.argsort(np.concatenate(rows))
    columns = {}
    for name in ("action", "policy", "value", "visits", "action_value", "proven", "prior"):
        parts = [getattr(result, name) for result in results]
        known = all(part is not None for part in parts)
        columns[name] = np.concatenate(parts)[order] if known else None
    return SearchResult(**columns, version=min(result.version for result in results))
