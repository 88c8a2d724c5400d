"""How many times more requests a server answers that computes them in batches.

    python tests/benchmarks/serving.py [lstm move resnet cnn mlp ...]

For each model two servers run, ``--batch 64`` and ``--batch 1``, each a process of its own with all
that ``alphazero serve`` does, and CLIENTS connections ask them in turns, one request after another
each. The supervised networks are those of configs/supervised, for MNIST's images and for reviews of
230 words, with weights as they are before training, which take as long as any others; ``move`` is
the bundled Connect Four agent with 64 simulations, asked about a different position each time.
Clients and servers share the machine.
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
    bodies = questions(name)
    path = "/move" if name == "move" else "/predict"
    sent = cycle([request(path, json.dumps(body).encode()) for body in bodies])
    rates, costs = {64: [], 1: []}, {64: [], 1: []}
    with server(checkpoint, 64) as batched, server(checkpoint, 1) as single:
        for turn in range(TURNS + 1):
            for batch, (process, port) in ((64, batched), (1, single)):
                before = psutil.Process(process).cpu_times()
                answered, seconds = asyncio.run(load(port, sent, SECONDS if turn else 1.0))
                after = psutil.Process(process).cpu_times()
                if turn:  # the first one warms up
                    used = after.user + after.system - before.user - before.system
                    rates[batch].append(answered / seconds)
                    costs[batch].append(1000 * used / answered)
    (many, cheap), (one, dear) = (
        (statistics.median(rates[batch]), statistics.median(costs[batch])) for batch in (64, 1)
    )
    print(
        f"{name:12} batched {many:7.1f}/s   one by one {one:7.1f}/s   {many / one:5.2f} times   "
        f"processor {cheap:6.2f} and {dear:6.2f} ms a request",
        flush=True,
    )


def untrained(name: str, run_dir: Path) -> Path:
    """A checkpoint of the network of ``configs/supervised/NAME``, as it is before training."""
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
    """20,000, none twice."""
    return ["".join(letters) for letters in islice(product(ascii_lowercase, repeat=4), 20_000)]


def questions(name: str) -> list[dict]:
    """Bodies of different requests."""
    rng = np.random.default_rng(0)
    if name == "move":
        return [{"moves": moves, "simulations": 64} for moves in openings(rng, 4000)]
    if name in ("lstm", "gru", "transformer", "textcnn"):
        known = words()
        return [{"text": " ".join(rng.choice(known, 230))} for _ in range(500)]
    return [{"image": image.tolist()} for image in rng.integers(0, 256, (500, 28, 28))]


def openings(rng: np.random.Generator, number: int) -> list[str]:
    """Of Connect Four: so many different unfinished games of 6 to 14 plies."""
    import games
    from games import solvers

    game, found = games.make("connect_four"), set()
    while len(found) < number:
        text = "".join(map(str, rng.integers(1, 8, rng.integers(6, 15))))
        try:
            solvers.unfinished(game, [text])
        except solvers.NotAPosition:
            continue
        found.add(text)
    return sorted(found)


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
        found = re.search(r":(\d+)/", line)
        assert found, f"{checkpoint} is not served"
        yield process.pid, int(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


async def load(port: int, requests: Iterator[bytes], seconds: float) -> tuple[int, float]:
    """How many requests of CLIENTS connections were answered, and in how many seconds."""
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

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered, time.perf_counter() - began


if __name__ == "__main__":
    main()
