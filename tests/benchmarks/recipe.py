"""Ablations by matches: what each choice of a training recipe is worth at equal CPU time.

    python tests/benchmarks/recipe.py GAME [LEVER ...] [--minutes M] [--seeds S ...] [--games G]
    python tests/benchmarks/recipe.py GAME --against FILE [--minutes M] [--seeds S ...] [--games G]

A lever is a choice of the recipe, such as an auxiliary head. This trains GAME for M minutes of CPU
time (default 5) with the settings of BASE, and once with the settings of each LEVER (default: all)
on top of them, with each seed (default: 0 and 1). Then each agent of a lever plays G games (default
100) against each agent of the base, with the same search, and every agent plays G games against
OPPONENT if one is given. The time is that of the training process, so other work on the machine
costs no accuracy; as many trainings go on at a time as --jobs says. With --against, the base is the
configuration FILE, which names the same GAME, and the only lever is the default recipe, with
nothing but the game given. Results are appended to runs/recipe/results.jsonl; trainings and matches
that were finished before are not repeated.
"""

import argparse
import json
import math
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import product
from pathlib import Path

from alphazero import checkpoint, config, config_file, loop
from alphazero.config import Config
from alphazero.judging.mistakes import wilson
from alphazero.local_run import local_run, resolve
from alphazero.metrics_file import MetricsFile
from workers.terminal.options import count, game, natural, player

RUNS = Path("runs/recipe")
RESULTS = RUNS / "results.jsonl"
QUIET = ["training.steps=1000000", "evaluation.games=0", "evaluation.suite_every_minutes=0"]
"""As many steps as the time allows, and no matches in between."""
BASE = "base"
RECIPE = "the default recipe"
"""The only lever where the base is a configuration."""
SETTINGS = [
    "recipe=none",
    "search={kind: gumbel, simulations: 24, value_scale: 0.4}",
    "selfplay={games: 192, random_opening_plies: 4, temperature_plies: 12}",
    "network={blocks: 4, channels: 32, value_hidden: 32}",
    "optimizer.learning_rate=4e-3",
    "replay={samples_per_position: 3, min_positions: 5000, window_min: 40000}",
    "training={batch_size: 256, publish_every: 40, checkpoint_every: 500}",
    *QUIET,
]
"""The settings of BASE, which every lever changes in one place."""
CAPS = ["selfplay.fast_fraction=0.75", "selfplay.fast_simulations=12"]
"""Three of four moves get 12 simulations and are not trained on; with 60 for the fourth the mean is
24, that of BASE."""
FALLS_LATE = ["optimizer.schedule={kind: step, milestones: [0.85]}"]
"""A tenth of the rate from 85 % of the training on, instead of a cosine over all of it."""
PLANES = "tests.benchmarks.go_planes:WithoutLiberties"
LEVERS = {
    "global pooling": ["network.attention=global_pooling"],
    "ownership and score": ["network.heads={ownership: 0.5, score: 0.2}"],
    "ownership and score, games played out": [
        "network.heads={ownership: 0.5, score: 0.2}",
        "selfplay.stop_when_proven=false",
    ],
    "reply": ["network.heads={reply: 0.15}"],
    "short-term value": ["network.heads={short_term: 0.3}"],
    "moves left, games played out": [
        "network.heads={moves_left: 0.2}",
        "selfplay.stop_when_proven=false",
    ],
    "games played out": ["selfplay.stop_when_proven=false"],
    "value scale 0.1": ["search.value_scale=0.1"],
    "value scale 0.2": ["search.value_scale=0.2"],
    "value scale 0.8": ["search.value_scale=0.8"],
    "12 simulations": ["search.simulations=12"],
    "48 simulations": ["search.simulations=48"],
    "PUCT": ["search={kind: puct, simulations: 24}"],
    "PUCT 48": ["search={kind: puct, simulations: 48}"],
    "PUCT, caps of 60 and 12": ["search={kind: puct, simulations: 60}", *CAPS],
    "PUCT, caps, forced playouts": [
        "search={kind: puct, simulations: 60, forced_playouts: 2}",
        *CAPS,
    ],
    "caps of 60 and 12": ["search.simulations=60", *CAPS],
    "1.5 samples per position": ["replay.samples_per_position=1.5"],
    "6 samples per position": ["replay.samples_per_position=6"],
    "batches of 128": ["training.batch_size=128"],
    "batches of 512": ["training.batch_size=512"],
    "look ahead": ["search.look_ahead=true"],
    "policy surprise": ["replay.policy_surprise=0.5"],
    "outcomes only": ["replay.value_mixing=0"],
    "half search value": ["replay.value_mixing=0.5"],
    "resignation": ["selfplay.resign_value=0.95"],
    "constant learning rate": ["optimizer.schedule.kind=constant"],
    "learning rate falls late": FALLS_LATE,
    "twice the rate, falls late": ["optimizer.learning_rate=8e-3", *FALLS_LATE],
    "half the learning rate": ["optimizer.learning_rate=2e-3"],
    "twice the learning rate": ["optimizer.learning_rate=8e-3"],
    "48 channels": ["network.channels=48"],
    "24 channels": ["network.channels=24"],
    "2 blocks": ["network.blocks=2"],
    "8 blocks": ["network.blocks=8"],
    "random openings of 8 plies": ["selfplay.random_opening_plies=8"],
    "no random openings": ["selfplay.random_opening_plies=0"],
    "exploring throughout": ["selfplay.temperature_plies=1000"],
    "residual perceptron": ["network={kind: perceptron}"],
    "no liberties (Go)": [
        f"network.encoder={PLANES}",
    ],
    "12, 24, 48 simulations": [],
}
STAGES = {
    "12, 24, 48 simulations": [(share / 3, [f"search.simulations={number}"])
                               for share, number in ((1, 12), (2, 24), (3, 48))],
}  # fmt: skip
"""Settings that change during the training: until which share of its time, and which."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", type=game, help="as for `alphazero play`")
    quoted = ", ".join(f"'{name}'" for name in LEVERS)
    parser.add_argument("levers", nargs="*", metavar="LEVER", help=f"in quotes: {quoted}")
    parser.add_argument("--minutes", type=float, default=5, help="CPU minutes per training (5)")
    parser.add_argument("--seeds", type=natural, nargs="+", default=[0, 1], help="(0 1)")
    parser.add_argument("--games", type=count, default=100, help="games per match (100)")
    parser.add_argument("--simulations", type=count, default=100, help="per move in a match (100)")
    parser.add_argument("--opening-plies", type=natural, default=4, help="in matches (4)")
    parser.add_argument("--opponent", type=player, help="a player whom every agent meets")
    parser.add_argument("--base", nargs="+", default=[], metavar="KEY=VALUE",
                        help="settings of every training")  # fmt: skip
    parser.add_argument("--against", metavar="FILE",
                        help="a configuration to which the default recipe is compared")  # fmt: skip
    parser.add_argument("--jobs", type=count, default=1, help="trainings at a time (1)")
    options = parser.parse_args()
    if unknown := [name for name in options.levers if name not in LEVERS]:
        parser.error(f"no lever {unknown[0]!r}; there are {quoted}")
    if options.against and options.levers:
        parser.error("--against compares the default recipe alone: name no lever")
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes:g}: should be above 0")
    levers = [BASE, *([RECIPE] if options.against else options.levers or LEVERS)]
    try:
        for lever in levers:
            _configuration(lever, 0, RUNS / "game.yaml", options)
    except ValueError as error:
        parser.error(str(error))
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawned, max_tasks_per_child=1) as pool:
        for run in pool.map(_train, *zip(*product(levers, options.seeds, [options]), strict=True)):
            print(json.dumps(run), flush=True)
            _play(run, options)
    _report(levers, options)


def _folder(lever: str, seed: int, options: argparse.Namespace) -> Path:
    against = [options.against] if options.against else []
    parts = [options.game, f"{options.minutes:g}", *options.base, *against, lever, str(seed)]
    return RUNS / "".join(c if c.isalnum() or c in "._-" else "_" for c in "-".join(parts))


def _train(lever: str, seed: int, options: argparse.Namespace) -> dict:
    """Train one agent for the CPU time, the schedule of its learning rate included."""
    folder, limit = _folder(lever, seed, options), options.minutes * 60
    finished = folder / "finished.json"
    if finished.exists():
        return json.loads(finished.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    # A later stage would go on from the newest checkpoint, even if an interrupted training left it.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    began, path = time.process_time(), None
    with closing(MetricsFile(folder / "metrics.jsonl", False, 0)) as metrics:
        for share, more in STAGES.get(lever, [(1.0, [])]):
            made = _configuration(lever, seed, folder / "game.yaml", options, more)
            end = share * limit
            hooks = loop.Hooks(
                log=metrics.write,
                seconds=lambda: time.process_time() - began,
                stop=lambda end=end: time.process_time() - began >= end,
            )
            settings = resolve(made, "off")
            with local_run(settings, folder, resumed=path is not None) as run:
                loop.resume(run, path)
                (folder / "config.yaml").write_text(config_file.as_yaml(settings))
                loop.train(run, hooks, limit)
                row = {"lever": lever, "seed": seed, "games": run.replay.games,
                       "positions": run.replay.positions, "steps": run.learner.step,
                       "cpu_minutes": round(hooks.seconds() / 60, 2)}  # fmt: skip
            if (path := checkpoint.newest(folder)) is None:
                raise RuntimeError(f"{lever}: no checkpoint was saved, as the loss had jumped")
    finished.write_text(json.dumps(row))
    return row


def _configuration(
    lever: str, seed: int, file: Path, options: argparse.Namespace, more: Sequence[str] = ()
) -> Config:
    """The settings of a lever and ``more``; ``file`` is written with the game alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"game: {options.game}\n")
    seeded = f"seed={seed}"
    if lever == RECIPE:
        return config.load(str(file), [seeded, *QUIET, *options.base])
    if options.against:
        return config.load(options.against, [seeded, *QUIET, *options.base])
    return config.load(str(file), [seeded, *SETTINGS, *options.base, *LEVERS.get(lever, []), *more])


def _play(run: dict, options: argparse.Namespace) -> None:
    """The matches of a new agent: against the base's of every seed, and against the opponent."""
    own = _player(run["lever"], run["seed"], options)
    if run["lever"] != BASE:
        for seed in options.seeds:
            _match(run, own, f"base {seed}", _player(BASE, seed, options), options)
    if options.opponent:
        _match(run, own, options.opponent, options.opponent, options)


def _player(lever: str, seed: int, options: argparse.Namespace) -> str:
    path = checkpoint.resolve(_folder(lever, seed, options))
    return f"checkpoint:path={path},simulations={options.simulations}"


def _match(run: dict, one: str, name: str, other: str, options: argparse.Namespace) -> None:
    key = _key(run["lever"], run["seed"], name, options)
    if any(key.items() <= row.items() for row in _results()):
        return
    report = RUNS / f"match_{run['lever']}_{run['seed']}.json".replace(" ", "_")
    command = [sys.executable, "-m", "workers.cli", "arena", one, other, "--game", options.game,
               "--games", str(options.games), "--opening-plies", str(options.opening_plies),
               "--json", str(report), "--allow", PLANES]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    score = json.loads(report.read_text())["players"][0]["score"]
    report.unlink()
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(run | key | {"score": score}) + "\n")


def _key(lever: str, seed: int, opponent: str, options: argparse.Namespace) -> dict:
    names = ("game", "minutes", "base", "against", "simulations", "games")
    settings = {f"of_{name}": getattr(options, name) for name in names}
    return {"lever": lever, "seed": seed, "opponent": opponent, **settings}


def _results() -> list[dict]:
    return (
        [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    )


def _report(levers: Sequence[str], options: argparse.Namespace) -> None:
    """A line per lever: its score against the base, in points and Elo, and its games."""
    for lever in levers:
        rows = [row for seed in options.seeds for row in _results()
                if _key(lever, seed, row["opponent"], options).items() <= row.items()]  # fmt: skip
        against = [row["score"] for row in rows if row["opponent"].startswith("base")]
        line = f"{lever:26} positions {sum(r['positions'] for r in rows) / max(1, len(rows)):9,.0f}"
        if against:
            games = options.games * len(against)
            score = sum(against) / len(against)
            low, high = wilson(score * games, games)
            elo = 400 * math.log10(max(score, 0.001) / max(1 - score, 0.001))
            line += f"  {score:6.1%} ({low:.1%} to {high:.1%}) {elo:+5.0f} Elo {against}"
        others = [row["score"] for row in rows if not row["opponent"].startswith("base")]
        print(line, f" against {options.opponent}: {others}" if others else "")


if __name__ == "__main__":
    main()
