"""Compare a server that computes requests in batches with one that computes them one by one.

    python tests/benchmarks/serving.py [lstm move resnet cnn mlp ...]

For each model two servers run, ``--batch 64`` and ``--batch 1``, each a process of ``alphazero
serve``. CLIENTS connections send requests to one and to the other in turns, each connection one
request after another. The supervised networks are those of configs/supervised, for MNIST's images
and for reviews of 230 words, with untrained weights, which take as long as any others. ``move`` is
the bundled Connect Four agent with 64 simulations and a different position in each request. Clients
and servers share the machine.
"""

import argparse
import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice, product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import psutil

CLIENTS, SECONDS, TURNS = 64, 4.0, 3
MODELS = ("lstm", "gru", "transformer", "textcnn", "resnet", "cnn", "mlp", "move")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["gru", "lstm", "move", "resnet", "mlp"])
    models = parser.parse_args().models
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            measure(name, Path(folder))


def measure(name: str, folder: Path):
    checkpoint = "connect_four" if name == "move" else str(untrained(name, folder / name))
    bodies = request_bodies(name)
    path = "/move" if name == "move" else "/predict"
    sent = cycle([request(path, json.dumps(body).encode()) for body in bodies])
    rates, costs = {64: [], 1: []}, {64: [], 1: []}
    with server(checkpoint, 64) as batched, server(checkpoint, 1) as single:
        for turn in range(TURNS + 1):
            for batch, (process, port) in ((64, batched), (1, single)):
                before = psutil.Process(process).cpu_times()
                answered, seconds = asyncio.run(load(port, sent, SECONDS if turn else 1.0))
                after = psutil.Process(process).cpu_times()
                if turn:  # the first turn is a warm-up
                    used = after.user + after.system - before.user - before.system
                    rates[batch].append(answered / seconds)
                    costs[batch].append(1000 * used / answered)
    (many, many_cost), (one, one_cost) = (
        (statistics.median(rates[batch]), statistics.median(costs[batch])) for batch in (64, 1)
    )
    print(
        f"{name:12} batched {many:7.1f}/s   one by one {one:7.1f}/s   {many / one:5.2f} times   "
        f"processor {many_cost:6.2f} and {one_cost:6.2f} ms per request",
        flush=True,
    )


def untrained(name: str, run_dir: Path) -> Path:
    """A checkpoint of the network of ``configs/supervised/NAME`` before training."""
    from alphazero.nn import models
    from alphazero.supervised import config as configs
    from alphazero.supervised import model
    from alphazero.supervised.vocabulary import Vocabulary

    config, vocabulary = configs.load(name), None
    classes, shape = tuple("0123456789"), (1, 28, 28)
    if config.data.kind == "texts":
        vocabulary = Vocabulary.build([" ".join(words())], config.data.vocabulary)
        classes, shape = ("negative", "positive"), (len(vocabulary),)
    network = models.build(config.model, shape, len(classes), seed=0)
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    return model.save(run_dir, 1, model.Model(config, classes, shape, vocabulary, weights), {})


def words() -> list[str]:
    """20,000 different words."""
    return ["".join(letters) for letters in islice(product(ascii_lowercase, repeat=4), 20_000)]


def request_bodies(name: str) -> list[dict]:
    """The bodies of different requests."""
    rng = np.random.default_rng(0)
    if name == "move":
        return [{"moves": moves, "simulations": 64} for moves in openings(rng, 4000)]
    if name in ("lstm", "gru", "transformer", "textcnn"):
        vocabulary = words()
        return [{"text": " ".join(rng.choice(vocabulary, 230))} for _ in range(500)]
    return [{"image": image.tolist()} for image in rng.integers(0, 256, (500, 28, 28))]


def openings(rng: np.random.Generator, number: int) -> list[str]:
    """The moves of ``number`` different unfinished games of Connect Four, 6 to 14 plies long."""
    import games
    from games import solvers

    game, unfinished = games.make("connect_four"), set()
    while len(unfinished) < number:
        text = "".join(map(str, rng.integers(1, 8, rng.integers(6, 15))))
        try:
            solvers.unfinished(game, [text])
        except solvers.NotAPosition:
            continue
        unfinished.add(text)
    return sorted(unfinished)


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def server(checkpoint: str, batch: int) -> Iterator[tuple[int, int]]:
    """The process and the port of a server."""
    words = ["serve", checkpoint, "--port", "0", "--batch", str(batch), "--seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r":(\d+)/", line)
        assert address, f"{checkpoint} is not served"
        yield process.pid, int(address[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


async def load(port: int, requests: Iterator[bytes], seconds: float) -> tuple[int, float]:
    """Send requests on CLIENTS connections; return the number of answers, and the seconds."""
    deadline, answered = time.perf_counter() + seconds, 0

    async def client():
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length
            await reader.readexactly(int(length[1]))
            answered += 1
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered, time.perf_counter() - start


if __name__ == "__main__":
    main()
