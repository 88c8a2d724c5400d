"""The grammar of ``alphazero supervised``: its actions, their options and their help."""

import argparse
from pathlib import Path
from typing import Any

from workers import tune
from workers.options import add_command, add_json, add_run


def add(commands: Any) -> None:
    command = add_command(
        commands, "supervised", "train, judge, ask and tune networks on images and texts",
        "example:\n  alphazero supervised train cnn --run-dir runs/cnn\n\n"
        "without data.path a small data set stands in, so that every command runs offline",
    )  # fmt: skip
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    train = _action(
        actions, "train", "train a network",
        "examples:\n"
        "  alphazero supervised train resnet data.path=data/mnist\n"
        "  alphazero supervised train textcnn data.path=data/aclImdb_v1.tar.gz --time-limit 10m",
    )  # fmt: skip
    train.add_argument(
        "config", metavar="CONFIG", help="a name in configs/supervised or a YAML file"
    )
    add_run(train)
    train.add_argument(
        "--download", action="store_true", help="fetch the data first, where they are not here yet"
    )
    evaluate = _action(actions, "evaluate", "test a trained network", "")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run or one of its checkpoints")
    evaluate.add_argument("--data", metavar="PATH", help="other data than it was trained on")
    evaluate.add_argument(
        "--judge", type=Path, metavar="RUN", help="the classifier that judges a generator"
    )
    predict = _action(
        actions, "predict", "ask a trained network",
        "example:\n  alphazero supervised predict runs/textcnn --text 'What a film!'",
    )  # fmt: skip
    predict.add_argument("run", type=Path, metavar="RUN", help="a run or one of its checkpoints")
    predict.add_argument("--text", nargs="+", default=[], metavar="TEXT", help="in quotes")
    predict.add_argument(
        "--image", nargs="+", type=Path, default=[], metavar="FILE", help="PNG, grey, light on dark"
    )
    for each in (evaluate, predict):
        add_json(each)
    tune.add_arguments(_action(actions, "tune", "try settings out by cross-validation", ""))
    _add_vectors(actions)


def _add_vectors(actions: Any) -> None:
    vectors = _action(
        actions, "vectors", "learn word vectors from texts without labels",
        "example:\n  alphazero supervised vectors data/imdb --to vectors.txt",
    )  # fmt: skip
    vectors.add_argument("data", type=Path, metavar="PATH", help="where unlabelled texts are")
    vectors.add_argument("--to", type=Path, required=True, metavar="FILE", help="GloVe's format")
    vectors.add_argument("--dimensions", type=int, default=100, metavar="N", help="default 100")
    vectors.add_argument("--seed", type=int, default=0, metavar="N")


def _action(actions: Any, name: str, purpose: str, more: str) -> argparse.ArgumentParser:
    action = add_command(actions, name, purpose, more)
    action.set_defaults(command="supervised", action=name)
    return action
