"""Names of a run's metrics in plain words and with units, as the page's charts have them."""

from workers.terminal.dashboard import METRICS

SHARES = frozenset(
    {
        "accuracy", "arena_score", "batch_fill", "busy", "cache_hits", "discriminator_accuracy",
        "drawn", "ended_by_length", "ended_by_proof", "ended_by_resignation", "ended_by_rules",
        "game_share", "policy_mistakes", "resignation_mistakes", "test_accuracy",
        "validation_accuracy", "value_accuracy", "won_by_first",
    }
)  # fmt: skip
"""Metrics in [0, 1], by their first part; a chart shows them in per cent."""
NATS = frozenset({"policy_loss", "reply_loss", "ownership_loss", "policy_kl", "policy_entropy"})
"""Cross entropies, an entropy and a divergence. ``value_loss`` may be a squared error: no unit."""
ELO = {
    "elo": "",
    "elo_low": ", lower end of the 95 % interval",
    "elo_high": ", upper end of the 95 % interval",
}
_TEXTS = {metric.name: metric.label for metric in METRICS}


def label(metric: str, opponent: str | None = None) -> str:
    """The name of a metric; ``opponent`` is the one of the run's matches, to which Elo refers.

    ``policy_mistakes/opening_medium`` is ``mistakes, medium openings (%)``, as in the terminal, and
    ``node/a/busy`` is ``a: busy (%)``: the page multiplies what ends with ``(%)`` by 100.
    """
    if metric.startswith("node/") and metric.count("/") == 2:
        _, machine, metric = metric.split("/")
        return f"{machine}: {_text(metric)}"
    if metric in ELO:
        return f"Elo against {opponent}{ELO[metric]}" if opponent else f"Elo{ELO[metric]}"
    return _text(metric)


def _text(metric: str) -> str:
    text = _TEXTS.get(metric) or metric.replace("_", " ").replace("/", ", ")
    if metric.partition("/")[0] in SHARES:
        return f"{text} (%)"
    return f"{text} (nats)" if metric in NATS else text
