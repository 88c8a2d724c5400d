"""The grammar of ``alphazero supervised``: its actions, their options and their help."""

import argparse
from pathlib import Path
from typing import Any

from workers.terminal.options import add_command, add_json, add_run, count, file_path

TUNING = """\
examples:
  alphazero supervised tune mlp --grid optimizer.name=adam,rmsprop \\
      --grid optimizer.learning_rate=1e-3,1e-2 --folds 3 --to runs/tuned
  alphazero supervised tune cnn fit.epochs=3 --random 12 --grid model.dropout=0,0.25,0.5 \\
      --range optimizer.learning_rate=1e-4..1e-1 --to runs/random
  alphazero supervised train runs/tuned/best.yaml

DIR holds results.csv, results.json, results.png, best.yaml and trials.jsonl. Trials in the last one
are not run again: the same command goes on where it was stopped, and a larger grid adds to it."""


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
    _add_config(train)
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
    _add_tune(actions)
    _add_vectors(actions)


def _add_tune(actions: Any) -> None:
    tune = _action(actions, "tune", "try settings out by cross-validation", TUNING)
    _add_config(tune)
    tune.add_argument(
        "overrides", metavar="key.sub=value", nargs="*", help="settings that all candidates share"
    )
    _add_search(tune)
    tune.add_argument(
        "--ray", metavar="off|local|ADDRESS", default="off",
        help="where trials run; default off: in processes of this machine",
    )  # fmt: skip
    tune.add_argument(
        "--parallel", type=count, metavar="N",
        help="trials at a time; default: one for each core; 1: in this process",
    )  # fmt: skip
    tune.add_argument("--to", type=Path, required=True, metavar="DIR", help="for all results")


def _add_search(tune: argparse.ArgumentParser) -> None:
    tune.add_argument(
        "--grid", action="append", default=[], metavar="key.sub=A,B,...",
        help="values to try; given several times, every combination is a candidate",
    )  # fmt: skip
    tune.add_argument(
        "--range", action="append", default=[], dest="ranges", metavar="key.sub=LOW..HIGH",
        help="draw from in between, with --random: evenly in the logarithm where both ends are "
        "positive and a decade or more apart, else evenly; whole numbers if both ends are",
    )  # fmt: skip
    tune.add_argument(
        "--random", type=count, metavar="N",
        help="try N combinations drawn at random, from --grid's values and --range's",
    )  # fmt: skip
    tune.add_argument(
        "--folds", type=count, default=3, metavar="K", help="of the training data; default 3"
    )


def _add_vectors(actions: Any) -> None:
    vectors = _action(
        actions, "vectors", "learn word vectors from texts without labels",
        "example:\n  alphazero supervised vectors data/imdb --to vectors.txt",
    )  # fmt: skip
    vectors.add_argument("data", type=Path, metavar="PATH", help="where unlabelled texts are")
    vectors.add_argument(
        "--to", type=file_path, required=True, metavar="FILE", help="GloVe's format"
    )
    vectors.add_argument("--dimensions", type=count, default=100, metavar="N", help="default 100")
    vectors.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")


def _add_config(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "config", metavar="CONFIG", help="a name in configs/supervised or a YAML file"
    )


def _action(actions: Any, name: str, purpose: str, more: str) -> argparse.ArgumentParser:
    action = add_command(actions, name, purpose, more)
    action.set_defaults(command="supervised", action=name)
    return action
