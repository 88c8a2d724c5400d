"""Tiny predictors whose answers can be computed by hand, and servers that use them."""

import contextlib
import json
import threading
import time

import httpx
import numpy as np

from workers.serve.limits import Limits

SMALL = Limits(
    batch=4, queue=8, body_bytes=4096, characters=100, simulations=16, seconds=100.0
)  # fmt: skip


class Rows:
    """Computes row by row, so that a result's bits do not depend on the batch."""

    def __init__(self):
        self.batches = []

    def predict(self, inputs):
        assert threading.current_thread().name.startswith("network")
        self.batches.append(len(inputs))
        return np.stack([self.one(single) for single in inputs])

    def warning(self, inputs):
        return None


def softmax(logits):
    weights = np.exp(np.asarray(logits, np.float32))
    return weights / weights.sum()


class Corners(Rows):
    """Images of 2 x 3: the more light in a corner, the more probable is its class."""

    kind, classes, shape = "images", ("left", "right", "none"), (1, 2, 3)

    def one(self, image):
        assert image.dtype == np.uint8
        assert image.shape == (1, 2, 3)
        return softmax([image[0, 0, 0] / 255, image[0, 1, 2] / 255, 0.5])


class Shouting(Rows):
    """Texts: the more capital letters, the louder."""

    kind, classes, shape = "texts", ("calm", "loud"), (100,)

    def one(self, text):
        return softmax([1, sum(letter.isupper() for letter in text)])


class Slow(Shouting):
    """Waits for ``go`` before every batch."""

    def __init__(self):
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()

    def predict(self, inputs):
        self.began.set()
        assert self.go.wait(30)
        return super().predict(inputs)


def untrained(name, folder, side=8):
    """A run of ``configs/supervised/NAME``, for small images or few words, before training."""
    from alphazero.nn import gan, models
    from alphazero.supervised import config as configs
    from alphazero.supervised import model
    from alphazero.supervised.vocabulary import Vocabulary

    config, vocabulary = configs.load(name), None
    classes, shape = tuple("0123456789"), (1, side, side)
    if config.data.kind == "texts":
        vocabulary = Vocabulary.build(["a good one", "a bad one"], 100)
        classes, shape = ("negative", "positive"), (len(vocabulary),)
    if name == "gan":
        network, _ = gan.build(config.model, shape, len(classes), seed=0)
    else:
        network = models.build(config.model, shape, len(classes), seed=0)
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    model.save(folder, 1, model.Model(config, classes, shape, vocabulary, weights), {})
    return folder


def client(app):
    """An HTTP client of ``app`` in this process, without sockets."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://server")


@contextlib.contextmanager
def running(app, limits):
    """The address of a server of ``app`` on this machine, in a thread of its own."""
    from workers.serve import server

    bound = server.bind("127.0.0.1", 0)
    made = server.build(app, limits)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not made.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield bound.getsockname()
    finally:
        made.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def shown(predictor, item):
    """The expected answer to ``item``, from the predictor's own numbers."""
    row = predictor.one(item)
    probabilities = {name: float(value) for name, value in zip(predictor.classes, row, strict=True)}
    return {"label": predictor.classes[int(row.argmax())], "probabilities": probabilities}


def same_bits(answer, expected):
    return json.dumps(answer) == json.dumps(expected)
