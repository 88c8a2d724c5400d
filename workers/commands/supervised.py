"""``alphazero supervised``: train, test, use and tune networks on images and texts."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.terminal.options import (
    add_json,
    add_run,
    add_settings,
    count,
    file_path,
    path,
    ray,
    supervised_keys,
)
from workers.terminal.parsing import Parser

if TYPE_CHECKING:
    from workers.supervised.tune import TuneOptions

HELP = "train, test, use and tune networks on images and texts"
EPILOG = """\
example:
  alphazero supervised train cnn --run-dir runs/cnn

without data.path a small data set is used instead, so that every command runs offline"""

TRAIN = """\
examples:
  alphazero supervised train resnet data.path=data/mnist
  alphazero supervised train textcnn data.path=data/aclImdb_v1.tar.gz"""
EVALUATE = """\
examples:
  alphazero supervised evaluate runs/cnn
  alphazero supervised evaluate runs/gan --judge runs/cnn

figures of a generator: confident (share classified with probability > 0.9), as_conditioned (share
classified as the class that was generated), classes (number of confident ones per class)"""
PREDICT = """\
example:
  alphazero supervised predict runs/textcnn --text 'What a film!'"""
TUNE = """\
examples:
  alphazero supervised tune mlp --grid optimizer.name=adam,rmsprop \\
      --grid optimizer.learning_rate=1e-3,1e-2 --folds 3 --to runs/tuned
  alphazero supervised tune cnn fit.epochs=3 --random 12 --to runs/random \\
      --grid model.dropout=0,0.25,0.5 \\
      --range optimizer.learning_rate=1e-4..1e-1
  alphazero supervised train runs/tuned/best.yaml

DIR holds results.csv, results.json, results.png, best.yaml and trials.jsonl. Trials in the last one
are not run again: the same command continues where it was stopped, and a larger grid adds to it."""
VECTORS = """\
example:
  alphazero supervised vectors data/imdb --to vectors.txt"""


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_train(actions)
    _add_evaluate(actions)
    _add_predict(actions)
    _add_tune(actions)
    _add_vectors(actions)


def run(options: argparse.Namespace) -> int:
    return options.run_action(options)


def _train(options: argparse.Namespace) -> int:
    from alphazero.supervised import config
    from workers.runs import run_directory
    from workers.terminal import output

    settings = config.load(options.config, options.overrides)
    name = Path(options.config).stem
    with output.tolerated(), run_directory.opened(name, options.run_dir, options.resume) as folder:
        from workers.supervised import train  # torch: mistakes in the settings are reported before

        return train.main(settings, folder, options.resume, options.download, options.time_limit)


def _evaluate(options: argparse.Namespace) -> int:
    from workers.supervised import evaluate
    from workers.terminal import tables

    figures = evaluate.evaluate(options.run_dir, options.data, options.judge)
    return tables.report(evaluate.table([figures]), figures, options.json)


def _predict(options: argparse.Namespace) -> int:
    from workers.supervised import evaluate
    from workers.terminal import tables

    rows = evaluate.predict(options.run_dir, options.text, options.image)
    return tables.report(evaluate.table(rows), rows, options.json)


def _tune(options: argparse.Namespace) -> int:
    from workers.supervised import tune

    return tune.main(tune_options(options))


def tune_options(options: argparse.Namespace) -> "TuneOptions":
    """The parsed command line of ``tune`` as the record that ``tune.main`` takes."""
    from workers.supervised.tune import TuneOptions

    return TuneOptions(
        config=options.config,
        overrides=options.overrides,
        grids=options.grid,
        ranges=options.ranges,
        random=options.random,
        folds=options.folds,
        ray=options.ray,
        parallel=options.parallel,
        folder=options.to,
    )


def _vectors(options: argparse.Namespace) -> int:
    from workers.supervised import word_vectors

    return word_vectors.learn(options.data, options.to, options.dimensions, options.seed)


def _add_train(actions: Any) -> None:
    train = _add_action(actions, "train", "train a network", TRAIN, _train)
    _add_config(train)
    add_run(train, supervised_keys)
    train.add_argument(
        "--download", action="store_true", help="download MNIST or IMDb first, where it is missing"
    )


def _add_evaluate(actions: Any) -> None:
    evaluate = _add_action(actions, "evaluate", "test a trained network", EVALUATE, _evaluate)
    _add_model(evaluate)
    evaluate.add_argument(
        "--data",
        type=os.path.expanduser,
        metavar="PATH",
        help="test on these data instead of those it was trained on",
    )
    evaluate.add_argument(
        "--judge",
        type=path,
        metavar="RUN",
        help="the classifier with which a generator is evaluated",
    )
    add_json(evaluate)


def _add_predict(actions: Any) -> None:
    predict = _add_action(actions, "predict", "classify with a trained network", PREDICT, _predict)
    _add_model(predict)
    predict.add_argument(
        "--text", nargs="+", default=[], metavar="TEXT", help="texts, each in quotes"
    )
    predict.add_argument(
        "--image", nargs="+", type=path, default=[], metavar="FILE", help="PNG, light on dark"
    )
    add_json(predict)


def _add_tune(actions: Any) -> None:
    tune = _add_action(actions, "tune", "search for settings by cross-validation", TUNE, _tune)
    _add_config(tune)
    add_settings(tune, supervised_keys, "settings that all candidates share")
    _add_candidates(tune)
    tune.add_argument(
        "--folds",
        type=count,
        default=3,
        metavar="K",
        help="parts of the training data, each left out of training once; default 3",
    )
    tune.add_argument(
        "--ray",
        type=ray,
        metavar="off|local|ADDRESS",
        default="off",
        help="where trials run; default off: in processes of this machine",
    )
    tune.add_argument(
        "--parallel",
        type=count,
        metavar="N",
        help="trials at a time; default: one per core; 1: in this process",
    )
    tune.add_argument("--to", type=path, required=True, metavar="DIR", help="folder of the results")


def _add_candidates(tune: argparse.ArgumentParser) -> None:
    tune.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="key.sub=A,B,...",
        help="values to try; given several times, every combination is a candidate",
    )
    tune.add_argument(
        "--range",
        action="append",
        default=[],
        dest="ranges",
        metavar="key.sub=LOW..HIGH",
        help="with --random: draw a value from this range, evenly in the logarithm where both ends "
        "are positive and a decade or more apart, else evenly; whole numbers if both ends are",
    )
    tune.add_argument(
        "--random",
        type=count,
        metavar="N",
        help="try N combinations drawn at random, from --grid's values and --range's",
    )


def _add_vectors(actions: Any) -> None:
    purpose = "learn word vectors from texts without labels"
    vectors = _add_action(actions, "vectors", purpose, VECTORS, _vectors)
    vectors.add_argument(
        "data", type=path, metavar="PATH", help="folder, archive or table of texts"
    )
    vectors.add_argument(
        "--to", type=file_path, required=True, metavar="FILE", help="in GloVe's text format"
    )
    vectors.add_argument("--dimensions", type=count, default=100, metavar="N", help="default 100")
    vectors.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")


def _add_config(action: argparse.ArgumentParser) -> None:
    action.add_argument("config", metavar="CONFIG", help="see `alphazero configs`; or a YAML file")


def _add_model(action: argparse.ArgumentParser) -> None:
    action.add_argument("run_dir", type=path, metavar="RUN", help="a run or one of its checkpoints")


def _add_action(actions: Any, name: str, purpose: str, epilog: str, run_action: Any) -> Parser:
    action = actions.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=epilog,
    )
    action.set_defaults(run_action=run_action)
    return action
