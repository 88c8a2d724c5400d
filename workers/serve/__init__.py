"""``alphazero serve``: a trained model behind HTTP, with batches, limits, figures and logs.

A ``Service`` (images, texts, moves) turns requests into inputs and answers into JSON; ``app`` puts
a queue, errors, health and figures around it; ``server`` runs that in this process, ``scale`` in
several on Ray. Nothing is imported before it is needed.
"""

import argparse
import importlib.util
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from workers.serve.limits import Limits
from workers.terminal.options import count

if TYPE_CHECKING:
    from workers.serve.service import Service

NEEDED = {
    "fastapi": "FastAPI",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "PIL": "Pillow",
}
MORE = """\
examples:
  alphazero serve connect_four                  # the agent that comes with the program
  alphazero serve runs/MY_RUN --port 9000
  curl -H 'content-type: application/json' -d '{"moves": "4453"}' localhost:8000/move
  curl -H 'content-type: application/json' -d '{"text": "a good one"}' localhost:8000/predict
  curl -F image=@digit.png localhost:8000/predict

/predict for images and texts, /move for games, /health, /metrics (Prometheus) and
/openapi.json; the page /docs loads JavaScript from the internet. Each request leaves a
line of JSON on stderr. There is neither encryption nor a password: to be reached from
other machines, let a web server that has them stand before it"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``main``; ``MORE`` is for the end of the help."""
    default = Limits()
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT",
        help="a run, one of its checkpoints, an exported agent, or a game whose agent comes with "
        "the program",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="where to listen; default 127.0.0.1, this machine alone; 0.0.0.0: for everybody",
    )  # fmt: skip
    parser.add_argument("--port", type=port, default=8000, help="default 8000; 0: any free one")
    for name, fallback, purpose in (
        ("batch", default.batch, "inputs that the network takes at once, and a request may hold"),
        ("queue", default.queue, "inputs that may wait; beyond them the answer is 503"),
        ("body-kib", default.body_bytes // 1024, "KiB that a request's body may have"),
        ("connections", default.connections, "clients at a time; beyond them the answer is 503"),
        ("simulations", default.simulations, "of the search for a move that asks for no number"),
        ("most-simulations", default.most_simulations, "of the search that a move may ask for"),
    ):
        parser.add_argument(
            f"--{name}", type=count, default=fallback, metavar="N",
            help=f"{purpose}; default {fallback}",
        )  # fmt: skip
    parser.add_argument(
        "--seconds", type=seconds, default=default.seconds, metavar="S",
        help=f"that a request waits for its answer before it gets 503; default {default.seconds:g}",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="local|ADDRESS",
        help="serve with Ray Serve, here or on a cluster whose nodes all have CHECKPOINT",
    )  # fmt: skip
    parser.add_argument(
        "--replicas", type=count, metavar="N",
        help="processes that hold the model, with --ray; default 2",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Serve until somebody stops it; ``ValueError``, ``OSError``: one line that says why not."""
    insist_on_packages()
    if options.replicas and not options.ray:
        raise ValueError("--replicas: only with --ray")
    limits = _limits(options)
    if options.ray:
        return _scale(options, limits)
    return _serve(options, limits)


def _scale(options: argparse.Namespace, limits: Limits) -> int:
    try:
        from workers.serve import scale
    except ImportError as error:
        why = str(error).partition(".")[0]
        raise ValueError(
            f"--ray needs Ray Serve ({why}): pip install 'alphazero[serve-ray]'"
        ) from None
    return scale.main(options, limits)


def _serve(options: argparse.Namespace, limits: Limits) -> int:
    from workers.serve import server

    with server.listener(options.host, options.port) as bound:
        return _serve_at(bound, options, limits)


def _serve_at(bound: socket.socket, options: argparse.Namespace, limits: Limits) -> int:
    from workers.serve import app, server

    served = load(options.checkpoint, limits)
    application = app.build(served, limits)
    server.log_all_as_lines(application.state.log)
    if not server.is_loopback(bound):
        application.state.log(warning(options.host))
    bound.listen(limits.connections)  # so that nobody who reads the next line comes too early
    url, path = server.url(bound), served.path
    print(
        f"serving {options.checkpoint} at {url}{path}; {url}/openapi.json describes it", flush=True
    )
    try:
        server.make(application, limits).run(sockets=[bound])
    finally:
        application.state.batcher.close()
    return 0


def load(checkpoint: str, limits: Limits) -> "Service":
    """What answers with the model at ``checkpoint``, tried once.

    ``ValueError``, one line, where there is no whole model, or its weights give nonsense.
    """
    path = find(checkpoint)
    import torch  # takes seconds: not before a mistake was named

    torch.set_num_threads(1)  # the network has one thread, and the event loop the other core
    service = _service(path, limits)
    answers = service.compute([service.example])  # whatever compiles at the first call does it now
    try:
        json.dumps(service.show(answers, False), allow_nan=False)
    except ValueError:
        raise ValueError(f"{path} answers with numbers that are not finite") from None
    return service


def find(checkpoint: str) -> Path:
    """The folder of a checkpoint, a run's newest, or a game's bundled agent, hashes checked.

    ``ValueError``, one line: there is none, or no whole one.
    """
    from alphazero import agents, sealed

    path = Path(checkpoint)
    if not path.exists() and checkpoint in agents.names():
        path = agents.find(checkpoint)
    return sealed.resolve(path)


def _service(path: Path, limits: Limits) -> "Service":
    from alphazero.supervised import model
    from workers.serve import moves, predictions

    if model.is_supervised(path):
        predictor = model.Predictor(path)
        if predictor.config.model.kind == "gan":
            raise ValueError(f"{path} makes pictures; what is served names or plays")
        return predictions.service(predictor, limits)
    return moves.load(path, limits)


def insist_on_packages() -> None:
    """``ValueError`` that says how to get those that are missing."""
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        needed = " and ".join(missing)
        raise ValueError(f"serve needs {needed}: pip install 'alphazero[serve]'")


def warning(host: str) -> dict[str, str]:
    """A line for the log."""
    message = f"listening on {host}: whoever reaches this machine can use the model, unencrypted"
    return {"level": "warning", "message": message}


def _limits(options: argparse.Namespace) -> Limits:
    if options.queue < options.batch:
        raise ValueError(f"--queue {options.queue}: at least as many as --batch, {options.batch}")
    if not 2 <= options.simulations <= options.most_simulations:
        raise ValueError("--simulations: from 2 to --most-simulations")
    return Limits(
        batch=options.batch,
        queue=options.queue,
        seconds=options.seconds,
        connections=options.connections,
        body_bytes=options.body_kib * 1024,
        simulations=options.simulations,
        most_simulations=options.most_simulations,
    )


def port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def seconds(text: str) -> float:
    """More than none and less than an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return value
