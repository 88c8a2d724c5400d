"""The server's answers are the model's own, and every invalid request gets one clear sentence."""

import argparse
import asyncio
import gzip
import io
import json
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from made_up_models import SMALL, Corners, Shouting, Slow, client, same_bits, shown, untrained
from prometheus_client.parser import text_string_to_metric_families

import games
from alphazero import agents
from alphazero.evaluators import uniform
from alphazero.judging import players
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from workers.commands import serve as command
from workers.serve import app, loading, main, moves, predictions
from workers.serve.limits import Address, Limits

IMAGES = [[[255, 0, 3], [0, 0, 7]], [[0, 1, 2], [0, 0, 200]], [[9, 9, 9], [9, 9, 9]]]
TEXTS = ["quiet", "LOUD and Clear", "a\x00b \u2603"]


def predict_app(predictor, limits=SMALL, log=lambda line: None):
    return app.build(predictions.service(predictor, limits), limits, log)


def move_app(name, limits=SMALL, search=None, evaluate=None):
    game = games.make(name)
    search = (search or Gumbel(simulations=16)).without_noise()
    compute = moves.MoveSearch(game, search, evaluate or uniform(game), limits)
    return app.build(moves.service(game, compute, limits), limits, lambda line: None)


def send(application, *requests):
    """The responses to ``(method, path, keywords)``, all sent at once."""

    async def scenario():
        async with client(application) as http:
            sent = [http.request(method, path, **more) for method, path, more in requests]
            return await asyncio.gather(*sent)

    return asyncio.run(scenario())


def post(application, path, body):
    return send(application, ("POST", path, {"json": body}))[0]


def array(image):
    return np.array([image], np.uint8)


def png(image, mode="L", **more):
    from PIL import Image

    stored = Image.fromarray(np.asarray(image, np.uint8)).convert(mode)
    file = io.BytesIO()
    stored.save(file, "PNG", **more)
    return file.getvalue()


def problem(response, status, field, *words):
    """Checks an error answer."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error", "field"}
    assert body["field"] == field
    for word in words:
        assert word in body["error"]


def test_an_image_is_answered_with_the_bits_of_the_predictor():
    application = predict_app(Corners())
    for image in IMAGES:
        response = post(application, "/predict", {"image": image})
        assert response.status_code == 200
        assert same_bits(response.json(), shown(Corners(), array(image)))


def test_a_list_is_answered_with_a_list_in_its_order_also_a_list_of_one():
    response = post(predict_app(Corners()), "/predict", {"images": IMAGES})
    expected = [shown(Corners(), array(image)) for image in IMAGES]
    assert same_bits(response.json(), {"predictions": expected})
    response = post(predict_app(Shouting()), "/predict", {"texts": TEXTS[1:2]})
    assert same_bits(response.json(), {"predictions": [shown(Shouting(), TEXTS[1])]})


def test_a_text_is_answered_with_the_bits_of_the_predictor():
    for text in TEXTS:
        response = post(predict_app(Shouting()), "/predict", {"text": text})
        assert same_bits(response.json(), shown(Shouting(), text))


def test_simultaneous_requests_are_computed_together_and_answered_separately():
    predictor = Corners()
    sent = [("POST", "/predict", {"json": {"image": image}}) for image in IMAGES]
    for image, response in zip(IMAGES, send(predict_app(predictor), *sent), strict=True):
        assert same_bits(response.json(), shown(predictor, array(image)))
    assert predictor.batches == [3]


def test_a_networks_answers_are_exact_alone_and_within_1e_5_in_a_batch():
    """Torch may add in another order in a batch of another size: 1e-5 is promised then."""
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16 * 64, 10), torch.nn.Softmax(1),
    )  # fmt: skip

    class Network(Corners):
        classes, shape = tuple("0123456789"), (1, 8, 8)

        def predict(self, inputs):
            self.batches.append(len(inputs))
            with torch.no_grad():
                return network(torch.from_numpy(inputs / np.float32(255))).numpy()

    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8), np.uint8)
    predictor, limits = Network(), Limits(batch=32, queue=64)
    sent = [("POST", "/predict", {"json": {"image": image.tolist()}}) for image in images]
    application = predict_app(predictor, limits)
    together = [response.json()["probabilities"] for response in send(application, *sent)]
    assert predictor.batches == [32]
    for image, batched in zip(images, together, strict=True):
        alone = post(application, "/predict", {"image": image.tolist()}).json()
        own = predictor.predict(image[None, None])[0]
        assert list(alone["probabilities"].values()) == own.tolist()
        assert alone["label"] == str(own.argmax())
        np.testing.assert_allclose(list(batched.values()), own, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "textcnn", "lstm"])
def test_a_saved_model_answers_as_its_predictor_does(name, tmp_path):
    """Bit for bit alone and in the same batch, within 1e-5 in a batch of another size."""
    from alphazero.supervised.model import Predictor

    run_dir = untrained(name, tmp_path)
    limits = Limits(seconds=100.0)
    application = app.build(loading.load(str(run_dir), limits), limits, lambda line: None)
    predictor = Predictor(run_dir)
    inputs = ["a good one", "a bad, bad one", "nothing known here", "good " * 300]
    key = predictor.kind.removesuffix("s")
    if key == "image":
        inputs = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), np.uint8)
    given = inputs if key == "text" else inputs[:, 0].tolist()
    several = post(application, "/predict", {f"{key}s": given}).json()["predictions"]
    together = predictor.predict(inputs)
    for place, single in enumerate(given):
        own = predictor.predict(inputs[place : place + 1])[0]
        alone = post(application, "/predict", {key: single}).json()
        assert list(alone["probabilities"].values()) == own.tolist()
        assert alone["label"] == predictor.classes[own.argmax()]
        assert list(several[place]["probabilities"].values()) == together[place].tolist()
        np.testing.assert_allclose(together[place], own, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA"])
def test_a_png_as_body_or_upload_is_answered_like_its_array(mode):
    data, application = png(IMAGES[0], mode), predict_app(Corners())
    body = {"content": data, "headers": {"content-type": "image/png"}}
    upload = {"files": {"image": ("digit.png", data, "image/png")}}
    for sent in (body, upload):
        (response,) = send(application, ("POST", "/predict", sent))
        assert same_bits(response.json(), shown(Corners(), array(IMAGES[0])))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L"])
def test_a_png_with_a_transparent_pixel_is_refused(mode):
    if mode in ("L", "P"):
        data = png(IMAGES[0], mode, transparency=0)
    else:
        pixels = np.stack([np.array(IMAGES[0])] * len(mode[:-1]) + [np.full((2, 3), 255)], axis=2)
        pixels[1, 1, -1] = 254
        data = png(pixels, mode)
    body = {"content": data, "headers": {"content-type": "image/png"}}
    (response,) = send(predict_app(Corners()), ("POST", "/predict", body))
    problem(response, 422, "image", "transparent pixels")


def test_an_image_that_looks_inverted_is_answered_with_a_warning(tmp_path):
    from alphazero.supervised import model
    from alphazero.supervised.images import Brightness

    made = replace(model.load(untrained("mlp", tmp_path)), brightness=Brightness(33, 11))
    model.save(tmp_path, 2, made, {})
    limits = Limits(seconds=100.0)
    application = app.build(loading.load(str(tmp_path), limits), limits, lambda line: None)
    given = [np.full((8, 8), level).tolist() for level in (30, 222)]
    light, dark = post(application, "/predict", {"images": given}).json()["predictions"]
    assert set(light) == {"label", "probabilities"}
    assert dark["warning"].startswith("light and dark look exchanged: the mean grey level is 222")
    assert post(application, "/predict", {"image": given[1]}).json()["warning"] == dark["warning"]


def test_several_uploads_are_answered_with_a_list():
    files = [("image", (f"{place}.png", png(image))) for place, image in enumerate(IMAGES)]
    (response,) = send(predict_app(Corners()), ("POST", "/predict", {"files": files}))
    expected = [shown(Corners(), array(image)) for image in IMAGES]
    assert same_bits(response.json(), {"predictions": expected})


@pytest.mark.parametrize("name", agents.names())
def test_a_move_is_the_one_that_the_player_of_the_same_agent_makes(name):
    game = games.make(name)
    limits = Limits(simulations=60, seconds=100.0)
    application = app.build(moves.load(agents.find(name), limits), limits, lambda line: None)
    player = players.make("checkpoint:simulations=60", game, leaves="auto")
    states, numbers = game.initial(1), []
    for form in (" ".join, " ".join, lambda texts: [int(texts[0]), texts[1]]):
        given = form([str(number) for number in numbers])
        decision = player(states, [np.random.default_rng(0)])
        answer = post(application, "/move", {"moves": given}).json()
        assert answer["action"] == decision.action[0] + 1
        assert answer["move"] == game.move_to_text(states[0], int(decision.action[0]))
        assert answer["simulations"] == 60
        assert answer["value"] == pytest.approx(decision.value[0], abs=1e-4)
        legal = np.flatnonzero(game.legal(states)[0]).tolist()
        assert list(answer["policy"]) == [game.move_to_text(states[0], move) for move in legal]
        np.testing.assert_allclose(
            list(answer["policy"].values()), decision.policy[0, legal], atol=1e-4
        )
        numbers.append(legal[0] + 1)
        states = game.step(states, np.array(legal[:1]))


def test_moves_are_given_as_numbers_or_in_the_games_own_notation():
    game = games.make("othello:size=6")
    states = game.initial(1)
    first = int(game.legal(states)[0].argmax())
    second = int(game.legal(game.step(states, np.array([first])))[0].argmax())
    one, two = game.action_to_text(first), game.action_to_text(second)
    assert one != str(first + 1)
    numbers = [first + 1, second + 1]
    application = move_app("othello:size=6")
    answers = [
        post(application, "/move", {"moves": given}).json()
        for given in (
            [one, two],
            f"{first + 1} {second + 1}",
            numbers,
            [one, second + 1],
            f"{one} {two}",
            [one, str(second + 1)],
        )
    ]
    assert "action" in answers[0]
    assert all(same_bits(answer, answers[0]) for answer in answers)


def test_requests_with_different_simulations_share_a_batch_but_not_a_search():
    application = move_app("connect_four", Limits(batch=8, simulations=16, seconds=100.0))
    bodies = [{"moves": "44", "simulations": n} for n in (8, 32, 8)] + [{"moves": "1"}]
    alone = [post(application, "/move", body).json() for body in bodies]
    together = send(application, *(("POST", "/move", {"json": body}) for body in bodies))
    assert [answer["simulations"] for answer in alone] == [8, 32, 8, 16]
    for one, response in zip(alone, together, strict=True):
        assert same_bits(one, response.json())


class Evaluations:
    """A uniform evaluator that counts the positions it evaluates."""

    def __init__(self, game):
        self.evaluate, self.positions = uniform(game), 0

    def __call__(self, states):
        self.positions += len(states)
        return self.evaluate(states)


def evaluations(search, limits, *bodies):
    """The positions evaluated for each of ``bodies``, posted one after another, and the answers."""
    # The first search with a time in a process compiles its functions in a short search before it.
    post(move_app("connect_four", limits, search), "/move", {"moves": "", "seconds": 0.001})
    counted, numbers, answers = Evaluations(games.make("connect_four")), [], []
    application = move_app("connect_four", limits, search, counted)
    for body in bodies:
        before = counted.positions
        answers.append(post(application, "/move", body).json())
        numbers.append(counted.positions - before)
    return numbers, answers


def test_a_request_with_a_time_that_continues_an_earlier_one_goes_on_from_its_tree():
    search, limits = PUCT(simulations=64), Limits(simulations=64, seconds=100.0)
    lines = ("4", "444", "7", "444")
    bodies = [{"moves": line, "seconds": 30, "simulations": 64} for line in lines]
    kept, answers = evaluations(search, limits, *bodies)
    fresh, others = evaluations(search, replace(limits, kept_trees=0), *bodies)
    assert fresh == [65, 65, 65, 65]
    # "444" is below "4", "7" is not; the second "444" is the tree of the first and one simulation.
    assert (kept[0], kept[2], kept[3]) == (65, 65, 1)
    assert 0 < kept[1] < 65
    assert answers[0] == others[0]
    for answer in answers:
        assert set(answer) == set(others[0])
        assert sum(answer["policy"].values()) == pytest.approx(1, abs=1e-5)


def test_equal_requests_without_a_time_have_equal_answers_whatever_was_requested_before():
    search, limits = PUCT(simulations=64), Limits(simulations=64, seconds=100.0)
    earlier = [{"moves": "4", "seconds": 30, "simulations": 400}, {"moves": "44"}]
    bodies = [{"moves": "444"}, {"moves": "444", "simulations": 32}]
    _, alone = evaluations(search, limits, *bodies)
    numbers, answers = evaluations(search, limits, *earlier, *bodies, *bodies)
    assert answers[2:4] == answers[4:] == alone
    assert numbers[2:] == [65, 33, 65, 33]


def test_kept_trees_have_a_bound_of_memory():
    search = PUCT(simulations=32)
    limits = Limits(simulations=32, seconds=100.0, kept_bytes=1000)
    body = {"moves": "1", "seconds": 30, "simulations": 32}
    assert evaluations(search, limits, body, body)[0] == [33, 33], "one tree is larger"
    assert evaluations(search, replace(limits, kept_bytes=10**6), body, body)[0] == [33, 1]


def test_gumbels_search_keeps_no_trees():
    limits = Limits(simulations=16, seconds=100.0)
    bodies = [{"moves": "4"}, {"moves": "444"}, {"moves": "444"}]
    numbers, answers = evaluations(Gumbel(simulations=16), limits, *bodies)
    alone = [evaluations(Gumbel(simulations=16), limits, body)[1][0] for body in bodies]
    assert answers == alone
    assert numbers[1] == numbers[2]


def test_only_so_many_trees_are_kept():
    search, limits = PUCT(simulations=32), Limits(simulations=32, seconds=100.0, kept_trees=2)
    timed = {"seconds": 30, "simulations": 32}
    bodies = [{"moves": line} | timed for line in "12313"]
    assert evaluations(search, limits, *bodies)[0] == [33, 33, 33, 33, 1]


def test_a_request_may_name_seconds_and_searches_of_one_batch_share_the_time(monkeypatch):
    calls, run = [], moves.strongest_moves

    def recorded(search, game, states, rngs, evaluate, limits, kept):
        calls.append((len(states), limits))
        return run(search, game, states, rngs, evaluate, limits._replace(seconds=None), kept)

    monkeypatch.setattr(moves, "strongest_moves", recorded)
    game, limits = (
        games.make("connect_four"),
        Limits(seconds=8.0, simulations=20, max_simulations=50),
    )
    compute = moves.MoveSearch(game, Gumbel(simulations=8).without_noise(), uniform(game), limits)
    one = moves.MoveRequest(game.initial(1), (), 20)
    timed = [one._replace(seconds=seconds) for seconds in (4.0, 1.0, 3.0, 1.0)]
    results = compute([one, *timed])
    expected = [(1, (20, None)), (1, (20, 2.0)), (2, (20, 0.5)), (1, (20, 1.5))]
    assert [(count, limits[:2]) for count, limits in calls] == expected
    assert [result.request.seconds for result in results] == [None, 4, 1, 3, 1]
    calls.clear()
    application = move_app("connect_four", limits)
    for body in ({"seconds": 2}, {"seconds": 0.5, "simulations": 9}, {"simulations": 9}):
        assert post(application, "/move", {"moves": "44"} | body).status_code == 200
    expected = [(1, (None, 2.0)), (1, (9, 0.5)), (1, (9, None))]
    assert [(count, limits[:2]) for count, limits in calls] == expected


def test_a_request_for_hardly_any_time_spoils_no_other():
    game, limits = games.make("connect_four"), Limits(seconds=0.2)
    compute = moves.MoveSearch(game, PUCT(simulations=8), uniform(game), limits)
    one = moves.MoveRequest(game.initial(1), (), 20)
    requests = [one._replace(seconds=seconds) for seconds in (5e-324, 0.1, 0.09, 0.08)]
    assert [result.request for result in compute(requests)] == requests


def test_a_search_by_time_reports_the_simulations_that_it_made():
    limits = Limits(seconds=100.0, simulations=20, max_simulations=40)
    application = move_app("connect_four", limits, PUCT())
    body = {"moves": "4", "seconds": 30, "simulations": 40}
    assert post(application, "/move", body).json()["simulations"] == 40
    # Without a number only the time ends it, and not --most-simulations.
    body = {"moves": "4", "seconds": 0.5}
    assert post(application, "/move", body).json()["simulations"] > 40


JSON = {"content-type": "application/json"}
A, B = IMAGES[:2]


@pytest.mark.parametrize(
    ("body", "status", "field", "word"),
    [
        ({}, 422, "image", "either image or images"),
        ({"image": A, "images": [A]}, 422, "image", "either image or images"),
        ({"image": A, "colour": 1}, 422, "colour", "not permitted"),
        ({"image": []}, 422, "image", "at least 2"),
        ({"image": [*A, *A]}, 422, "image", "at most 2"),
        ({"image": [A[0], [1, 2]]}, 422, "image.1", "at least 3"),
        ({"image": [A[0], [1, 256, 2]]}, 422, "image.1.1", "less than or equal to 255"),
        ({"image": [A[0], [1, -1, 2]]}, 422, "image.1.1", "greater than or equal to 0"),
        ({"image": [A[0], [1, 0.5, 2]]}, 422, "image.1.1", "integer"),
        ({"image": [A[0], [1, "2", 2]]}, 422, "image.1.1", "integer"),
        ({"image": [A[0], [1, True, 2]]}, 422, "image.1.1", "integer"),
        ({"image": [A[0], [1, None, 2]]}, 422, "image.1.1", "integer"),
        ({"image": None}, 422, "image", "array"),
        ({"images": []}, 422, "images", "at least 1"),
        ({"images": [A] * 5}, 422, "images", "at most 4"),
        ({"images": [A, B[:1]]}, 422, "images.1", "at least 2"),
        ([A], 422, None, "object"),
        (b'{"image": [[1, 2, NaN], [0, 0, 0]]}', 422, "image.0.2", "integer"),
        (b'{"image": [[1, 2, -Infinity], [0, 0, 0]]}', 422, "image.0.2", "integer"),
        (b'{"image": [[1, 2, 1e999], [0, 0, 0]]}', 422, "image.0.2", "integer"),
        (b'{"image": [[1, 2, ' + b"9" * 3000 + b"], [0, 0, 0]]}", 422, "image.0.2", ""),
        ({str(place): 1 for place in range(300)}, 422, None, "300 errors"),
        (b"", 400, None, "Invalid JSON"),
        (b'{"image": [[1,', 400, None, "Invalid JSON"),
        (b"[" * 4000, 400, None, "recursion"),
        (b"\xff\xfe{}", 400, None, "Invalid JSON"),
        (b'{"\\ud800": 1}', 400, None, "Invalid JSON"),
        (b'{"image": "' + b"a" * 5000 + b'"}', 413, "body", "larger than 4096 bytes"),
    ],
)  # fmt: skip
def test_a_bad_body_gets_one_sentence_and_the_field_at_fault(body, status, field, word):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = ("POST", "/predict", {"content": content, "headers": JSON})
    problem(send(predict_app(Corners()), sent)[0], status, field, word)


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({"text": ""}, "text", "at least 1"),
        ({"text": "a" * 101}, "text", "at most 100"),
        ({"texts": ["a", "b" * 101]}, "texts.1", "at most 100"),
        ({"texts": ["a"] * 5}, "texts", "at most 4"),
        ({"text": 5}, "text", "string"),
        ({"text": ["a"]}, "text", "string"),
    ],
)
def test_a_bad_text_gets_one_sentence_and_the_field_at_fault(body, field, word):
    problem(post(predict_app(Shouting()), "/predict", body), 422, field, word)


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({"moves": "4459"}, "moves", "move 4 of '4459', '9', cannot be played"),
        ({"moves": "4444444"}, "moves", "cannot be played"),
        ({"moves": "11223344"}, "moves", "move 8"),
        ({"moves": "1122334"}, "moves", "the game is over"),
        ({"moves": "4" * 1000}, "moves", "at most 84"),
        ({"moves": [4, 12]}, "moves", "less than or equal to 7"),
        ({"moves": [0]}, "moves", "greater than or equal to 1"),
        ({"moves": ["d4"]}, "moves", "cannot be played; possible are"),
        ({"moves": [True]}, "moves", "integer"),
        ({"moves": None}, "moves", "string"),
        ({"simulations": 8}, "moves", "required"),
        ({"moves": "", "simulations": 1}, "simulations", "greater than or equal to 2"),
        ({"moves": "", "simulations": 2001}, "simulations", "less than or equal to 2000"),
        ({"moves": "", "simulations": None}, "simulations", "integer"),
        ({"moves": "", "seconds": 0}, "seconds", "greater than 0"),
        ({"moves": "", "seconds": SMALL.seconds / 2 + 0.1}, "seconds", "less than or equal to"),
        ({"moves": "", "seconds": "2"}, "seconds", "number"),
        ({"moves": "", "seconds": None}, "seconds", "number"),
        ({"moves": "", "depth": 3}, "depth", "not permitted"),
    ],
)
def test_a_bad_position_gets_one_sentence_and_the_field_at_fault(body, field, word):
    problem(post(move_app("connect_four"), "/move", body), 422, field, word)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused_with_a_list_of_the_valid_ones(kind):
    sent = {"content": b'{"image": 1}', "headers": {"content-type": kind} if kind else {}}
    (response,) = send(predict_app(Corners()), ("POST", "/predict", sent))
    problem(response, 415, "content-type", "application/json", "image/png", "multipart/form-data")


def test_unknown_paths_and_methods_are_refused_in_the_same_form():
    application = predict_app(Corners())
    for path in ("/", "/move", "/predict/", "/predict/../x", "/%00", "/openapi.yaml"):
        problem(send(application, ("GET", path, {}))[0], 404, None, "Not Found")
    for method, path in (("GET", "/predict"), ("DELETE", "/health"), ("OPTIONS", "/metrics")):
        (response,) = send(application, (method, path, {}))
        problem(response, 405, None, "Method Not Allowed")
        assert response.headers["allow"] in ("GET", "POST")


def test_a_full_queue_is_503_with_retry_after_until_there_is_room():
    predictor = Slow()
    application = predict_app(predictor, Limits(batch=1, queue=2))

    async def scenario():
        async with client(application) as http:
            tasks = [asyncio.create_task(http.post("/predict", json={"text": "a"}))]
            assert await asyncio.to_thread(predictor.began.wait, 30)
            tasks += [
                asyncio.create_task(http.post("/predict", json={"text": text}))
                for text in ("b", "c")
            ]
            while application.state.batcher.waiting < 2:
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.001)
            refused = await http.post("/predict", json={"text": "d"})
            predictor.go.set()
            answered = await asyncio.gather(*tasks)
            return refused, answered, await http.post("/predict", json={"text": "d"})

    refused, answered, later = asyncio.run(scenario())
    problem(refused, 503, None, "2 inputs are waiting")
    assert int(refused.headers["retry-after"]) >= 1
    assert {response.status_code for response in (*answered, later)} == {200}


def test_a_network_that_does_not_answer_is_503_also_for_health():
    predictor = Slow()
    application = predict_app(predictor, Limits(seconds=0.3))

    async def scenario():
        async with client(application) as http:
            before = await http.get("/health")
            late = await http.post("/predict", json={"text": "a"})
            await asyncio.sleep(0.1)
            unhealthy = await http.get("/health")
            predictor.go.set()
            again = await http.post("/predict", json={"text": "a"})
            return before, late, unhealthy, again, await http.get("/health")

    before, late, unhealthy, again, after = asyncio.run(scenario())
    problem(late, 503, None, "no answer within 0.3 s")
    problem(unhealthy, 503, None, "does not answer")
    assert "retry-after" in late.headers
    assert {response.status_code for response in (before, again, after)} == {200}


def test_an_exception_in_the_server_is_500_with_the_traceback_only_in_the_log():
    class Broken(Shouting):
        def one(self, text):
            raise ZeroDivisionError("secret")

    lines = []
    response = post(predict_app(Broken(), log=lines.append), "/predict", {"text": "a"})
    problem(response, 500, None, "internal server error")
    assert "secret" not in response.text
    assert "ZeroDivisionError: secret" in lines[0]["error"]


def test_health_describes_the_model():
    (response,) = send(predict_app(Corners()), ("GET", "/health", {}))
    model = {"kind": "images", "classes": ["left", "right", "none"], "shape": [1, 2, 3]}
    assert response.json() == {"status": "ok", "model": model}
    (response,) = send(move_app("connect_four"), ("GET", "/health", {}))
    assert response.json()["model"] == {"kind": "game", "game": "connect_four"}


def test_metrics_count_requests_batches_and_seconds_and_unknown_paths_as_one():
    application = predict_app(Corners())
    send(application, *[("POST", "/predict", {"json": {"image": A}})] * 3)
    send(application, ("POST", "/predict", {"json": {}}))
    for place in range(20):
        send(application, ("GET", f"/{place}", {}))
    (response,) = send(application, ("GET", "/metrics", {}))
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["alphazero_requests_total", ("path", "/predict"), ("status", "200")] == 3
    assert samples["alphazero_requests_total", ("path", "/predict"), ("status", "422")] == 1
    assert samples["alphazero_requests_total", ("path", "other"), ("status", "404")] == 20
    assert samples["alphazero_request_seconds_count", ("path", "/predict")] == 4
    assert samples["alphazero_batch_size_sum",] == 3
    assert samples["alphazero_batch_size_bucket", ("le", "4.0")] == 1
    assert samples["alphazero_queue_length",] == 0
    assert {value for name, *labels in samples for key, value in labels if key == "path"} == {
        "/predict", "other",
    }  # fmt: skip


def test_each_request_leaves_one_line_of_json(capsys):
    from workers.serve.logs import to_stderr

    application = predict_app(Corners(), log=to_stderr)
    send(application, *[("POST", "/predict", {"json": {"image": A}})] * 2)
    send(application, ("GET", "/a%0Ab" + "c" * 500, {}))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["status"] for line in lines] == [200, 200, 404]
    assert [line["batch"] for line in lines] == [2, 2, None]
    assert [line["path"][:4] for line in lines] == ["/pre", "/pre", "/a\nb"]
    assert len(lines[2]["path"]) == 200
    for line in lines:
        assert set(line) == {"time", "method", "path", "status", "milliseconds", "batch"}
        assert line["milliseconds"] > 0


@pytest.mark.parametrize("make", [Corners, Shouting, None], ids=["images", "texts", "moves"])
def test_the_description_is_complete_and_needs_no_network(make):
    application = predict_app(make()) if make else move_app("connect_four")
    described = send(application, ("GET", "/openapi.json", {}))[0].json()
    path = described["paths"]["/predict" if make else "/move"]["post"]
    assert set(path["responses"]) == {"200", "400", "408", "413", "415", "421", "422", "503"}
    wanted = {"application/json"}
    if make is Corners:
        wanted |= {"image/png", "multipart/form-data"}
    assert set(path["requestBody"]["content"]) == wanted
    text = json.dumps(described)
    assert "http://" not in text
    assert "https://" not in text
    for reference in set(text.split('"#/components/schemas/')[1:]):
        assert reference.partition('"')[0] in described["components"]["schemas"]


def options(*words):
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(words)


def test_without_options_the_limits_are_the_defaults_and_only_this_machine_can_connect():
    given = options("runs/x")
    assert command.limits(given) == Limits()
    assert given.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--queue", "8"], "--queue 8: at least as many as --batch"),
        (["--simulations", "1"], "--simulations: from 2"),
        (["--simulations", "3000"], "--simulations: from 2 to --most-simulations"),
        (["--replicas", "2"], "--replicas: only with --ray"),
        ([], "there is no agent 'nowhere': the agents are .*; or give the folder of a run"),
    ],
)
def test_bad_options_are_refused_in_one_line(words, message):
    with pytest.raises(ValueError, match=message) as refused:
        command.run(options("nowhere", "--port", "0", *words))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "words", [["--port", "70000"], ["--batch", "0"], ["--seconds", "nan"], ["--seconds", "-1"]]
)
def test_numbers_out_of_range_are_refused_by_the_command_line(words, capsys):
    with pytest.raises(SystemExit):
        options("x", *words)
    assert words[1] in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(main.PACKAGES, "no_such_package", "No-Such-Package")
    with pytest.raises(ValueError, match=r"No-Such-Package: .* --editable '\.\[serve\]'"):
        command.run(options("x"))


def test_the_command_is_imported_without_the_packages_that_serve():
    code = "import sys, workers.commands.serve; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "fastapi", "uvicorn", "starlette"} & set(ended.stdout.split())


def test_only_loopback_addresses_are_private_to_this_machine():
    from workers.serve import server

    for host, alone in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        bound = server.bind(host, 0)
        assert server.is_loopback(bound) == alone
        bound.listen()
        with pytest.raises(OSError, match="cannot listen on") as refused:
            server.bind(host, bound.getsockname()[1])
        assert "\n" not in str(refused.value)
        bound.close()


def test_the_server_accepts_connections_once_its_address_is_printed(monkeypatch, capsys):
    from workers.serve import logs, server

    class Connected:
        def run(self, sockets):
            assert "serving tic_tac_toe at http://127.0.0.1:" in capsys.readouterr().out
            socket.create_connection(sockets[0].getsockname(), timeout=10).close()

    monkeypatch.setattr(server, "build", lambda *_: Connected())
    monkeypatch.setattr(logs, "log_errors_as_json", lambda log: None)
    given = options("tic_tac_toe", "--port", "0", "--simulations", "2")
    assert command.run(given) == 0


def test_a_model_whose_results_are_not_finite_is_not_served(tmp_path):
    from dataclasses import replace

    from alphazero.supervised import model

    whole = model.load(untrained("mlp", tmp_path))
    with np.errstate(all="ignore"):
        broken = {name: array / np.zeros_like(array) for name, array in whole.weights.items()}
    model.save(tmp_path, 2, replace(whole, weights=broken), {})
    with pytest.raises(ValueError, match="weights are not finite or variances below 0: "):
        loading.load(str(tmp_path), Limits())


def test_a_model_that_makes_pictures_is_not_served(tmp_path):
    untrained("gan", tmp_path)
    with pytest.raises(ValueError, match="makes pictures"):
        loading.load(str(tmp_path), Limits())


def test_a_damaged_model_is_not_served(tmp_path):
    import shutil

    folder = shutil.copytree(agents.find("tic_tac_toe"), tmp_path / "agent")
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    with pytest.raises(ValueError, match="was altered"):
        loading.load(str(folder), Limits())


def test_other_processes_are_given_the_model_that_this_one_finds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tic_tac_toe").mkdir()  # holds no agent and hides none
    assert loading.source("tic_tac_toe") == "tic_tac_toe"
    (tmp_path / "tic_tac_toe" / "checkpoints").mkdir()
    assert loading.source("tic_tac_toe") == str(tmp_path / "tic_tac_toe")
    with pytest.raises(ValueError, match="there is no agent 'nowhere'"):
        loading.source("nowhere")


def two_lengths(host, port):
    """The answer to a request with both Content-Length and Transfer-Encoding."""
    head = f"POST /move HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    lengths = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall((head + lengths + "2\r\n{}\r\n0\r\n\r\n").encode())
        return connection.recv(65536)


@pytest.mark.slow
def test_with_ray_every_replica_gives_the_same_answers(ray_session):
    import httpx

    serve = pytest.importorskip("ray.serve", reason="pip install 'ray[serve]'")
    from workers.serve import scale, server

    bound = server.bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    bound.close()
    limits = command.limits(options("tic_tac_toe", "--body-kib", "1"))
    url = f"http://127.0.0.1:{port}"
    try:
        scale.deploy("tic_tac_toe", Address("127.0.0.1", port), limits, 2)
        with httpx.Client(base_url=url, timeout=60) as http:
            expected = http.post("/move", json={"moves": "5"}).json()
            assert expected["simulations"] == 600
            for _ in range(8):
                answer = http.post("/move", json={"moves": [5]}).json()
                assert answer["move"] == expected["move"]
                assert answer["policy"] == pytest.approx(expected["policy"], abs=1e-4)
            problem(http.post("/move", json={"moves": "55"}), 422, "moves", "cannot be played")
            problem(http.post("/move", content=b"a" * 2000), 413, "body", "larger than 1024")
            problem(http.get("/nothing"), 404, None)
            problem(http.get("/health", headers={"host": "evil.example"}), 421, "host")
            packed = {"content-encoding": "gzip", "content-type": "application/json"}
            refused = http.post("/move", content=gzip.compress(b"{}"), headers=packed)
            problem(refused, 415, "content-encoding")
            seen = http.head("/health")
            assert (seen.status_code, seen.content) == (200, b"")
            assert two_lengths("127.0.0.1", port).startswith(b"HTTP/1.1 400")
            assert http.get("/health").json()["model"]["game"] == "tic_tac_toe"
            assert "alphazero_requests_total" in http.get("/metrics").text
    finally:
        serve.shutdown()
