"""The supervised networks against NumPy, naive loops and torch's own modules."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import games
from alphazero import network
from alphazero.config import NetworkSettings
from alphazero.nn import layers, models, text_layers
from alphazero.nn.device import PRECISIONS
from alphazero.nn.settings import (
    CNN,
    MLP,
    EmbeddingSettings,
    OptimizerSettings,
    Recurrent,
    ResNet,
    TextCNN,
    Transformer,
)
from alphazero.nn.training import Optimization
from alphazero.nn.weights import load

ROOT = Path(__file__).parents[1]
SMALL = EmbeddingSettings(dimensions=6)
IMAGES = [MLP(hidden=(9, 8), batch_norm=True, dropout=0.1), CNN(channels=(3, 4), hidden=8)]
IMAGES += [ResNet(blocks=1, channels=4), ResNet(blocks=2, channels=4, shrink=1)]
TEXTS = [TextCNN(embedding=SMALL, channels=5)]
TEXTS += [Recurrent(embedding=SMALL, hidden=5, cell=cell) for cell in ("rnn", "lstm", "gru")]
TEXTS += [
    Recurrent(embedding=SMALL, hidden=5, pooling="last", layers=2),
    Recurrent(embedding=SMALL, hidden=5, pooling="mean", bidirectional=False),
    Transformer(embedding=SMALL, heads=2, feedforward=8),
    Transformer(embedding=SMALL, heads=3, layers=1),
]
WORDS = 30


def name(settings) -> str:
    return "-".join([settings.kind, *[getattr(settings, k, "") for k in ("cell", "pooling")]])


def for_every(settings):
    return pytest.mark.parametrize("settings", settings, ids=name)


def images(count: int = 4, side: int = 28) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def tokens(*lengths: int, width: int = 12, seed: int = 0) -> torch.Tensor:
    rows = np.random.default_rng(seed).integers(1, WORDS, (len(lengths), width))
    return torch.from_numpy(np.where(np.arange(width) < np.array(lengths)[:, None], rows, 0))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


@for_every(IMAGES)
@pytest.mark.parametrize("side", [28, 8])
def test_images_of_any_size_get_a_row_of_logits(settings, side):
    model = models.build(settings, (1, side, side), 10, seed=0)
    assert model(images(side=side)).shape == (4, 10)


@for_every(TEXTS)
def test_texts_of_any_length_get_a_row_of_logits(settings):
    model = models.build(settings, (WORDS,), 3, seed=0)
    assert model(tokens(12, 1, 5, 7)).shape == (4, 3)
    assert model(tokens(1, 1)).shape == (2, 3)


@for_every([*IMAGES, *TEXTS])
def test_the_weights_depend_on_the_seed_alone_and_do_not_use_torchs_generator(settings):
    shape = (1, 8, 8) if settings in IMAGES else (WORDS,)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(models.build(settings, shape, 3, seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (state(models.build(settings, shape, 3, seed=seed)) for seed in (5, 6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if first[key].ndim > 1]
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


def test_an_mlp_is_what_numpy_computes_by_hand():
    model = models.build(MLP(hidden=(7, 5), activation="sigmoid"), (1, 4, 3), 2, seed=0)
    x = images(5, 12)[:, :, :4, :3]
    weights = [p.detach().double().numpy() for p in model.parameters()]
    hidden = x.reshape(5, 12).double().numpy()
    for weight, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
        hidden = 1 / (1 + np.exp(-(hidden @ weight.T + bias)))
    expected = hidden @ weights[4].T + weights[5]
    np.testing.assert_allclose(model(x).detach().numpy(), expected, atol=1e-5)


def test_the_default_mlp_has_the_layers_of_the_tutorial():
    model = models.build(MLP(), (1, 28, 28), 10, seed=0)
    sizes = [(m.in_features, m.out_features) for m in model if isinstance(m, nn.Linear)]
    assert sizes == [(784, 128), (128, 256), (256, 10)]


def test_the_cnn_is_convolution_and_pooling_twice_and_dense_twice():
    model = models.build(CNN(dropout=0.0), (1, 28, 28), 10, seed=0)
    assert [type(part).__name__ for part in model] == [
        *("Conv2d", "ReLU", "MaxPool2d") * 2, "Flatten", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    planes, convolutions = images(2), [m for m in model if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        planes = nn.functional.conv2d(planes, convolution.weight, convolution.bias, padding=1)
        planes = nn.functional.max_pool2d(planes.relu(), 2)
    dense, last = (m for m in model if isinstance(m, nn.Linear))
    hidden = (planes.flatten(1) @ dense.weight.T + dense.bias).relu()
    torch.testing.assert_close(model(images(2)), hidden @ last.weight.T + last.bias)


def test_the_resnet_is_built_by_the_functions_that_build_the_policy_value_network():
    """Equal modules with equal names, after the layer that turns pixels into channels."""
    assert network.residual_tower is layers.residual_tower
    assert network.policy_head is layers.policy_head
    settings = ResNet(blocks=2, channels=8, head_channels=4, attention="global_pooling", shrink=1)
    game = games.make("connect_four")
    mine = models.build(settings, game.observation_shape, 7, seed=0)
    same = NetworkSettings(blocks=2, channels=8, policy_channels=4, attention="global_pooling")
    theirs = network.build(game, same, seed=1)
    shared = {key: t for key, t in theirs.state_dict().items() if not key.startswith("value.")}
    assert list(mine.state_dict()) == list(shared)
    assert [repr(mine.tower), repr(mine.policy)] == [repr(theirs.tower), repr(theirs.policy)]
    mine.load_state_dict(shared)
    x = torch.rand(4, *game.observation_shape)
    torch.testing.assert_close(mine.eval()(x), theirs.eval()(x)[0])


def test_both_networks_call_the_towers_function(monkeypatch):
    calls = []

    def counted(*given):
        calls.append(given)
        return original(*given)

    original = layers.residual_block
    monkeypatch.setattr(layers, "residual_block", counted)
    models.build(ResNet(blocks=3, channels=4), (1, 8, 8), 10, seed=0)
    network.build(games.make("tic_tac_toe"), NetworkSettings(blocks=2, channels=4), seed=0)
    assert calls == [(4, "none")] * 5


def test_there_is_no_second_residual_block_in_the_tree():
    """A module's ``forward`` that adds its own input is a residual block; of those that do, one
    adds a bias to each plane, one computes the tower's block in compiled loops, one is dense."""
    blocks = set()
    for room in ("alphazero", "games", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and adds_its_input(node):
                    blocks.add((path.relative_to(ROOT).as_posix(), node.name))
    file = "alphazero/nn/layers.py"
    fused = "alphazero/nn/fused.py", "FusedResidual"
    own = {"Residual", "GlobalPoolingBias", "ResidualLayer"}
    assert blocks == {fused, *((file, name) for name in own)}


def adds_its_input(node: ast.ClassDef) -> bool:
    def is_input(operand: ast.expr, given: set[str]) -> bool:
        return isinstance(operand, ast.Name) and operand.id in given

    for method in node.body:
        if not (isinstance(method, ast.FunctionDef) and method.name in ("forward", "__call__")):
            continue
        given = {argument.arg for argument in method.args.args[1:]}
        for part in ast.walk(method):
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
                if is_input(part.left, given) or is_input(part.right, given):
                    return True
            elif isinstance(part, ast.AugAssign) and isinstance(part.op, ast.Add):
                if is_input(part.target, given) or is_input(part.value, given):
                    return True
            elif (
                isinstance(part, ast.Call)
                and isinstance(part.func, ast.Attribute)
                and part.func.attr in ("add", "add_")
                and any(is_input(operand, given) for operand in (*part.args, part.func.value))
            ):
                return True
    return False


def test_shrinking_loses_nothing_of_an_image():
    shrink = models.build(ResNet(), (1, 28, 28), 10, seed=0).shrink
    cells = shrink(images())
    assert cells.shape == (4, 4, 14, 14)
    assert torch.equal(cells.flatten(1).sort().values, images().flatten(1).sort().values)
    assert torch.equal(cells[0, :, 3, 5], images()[0, 0, 6:8, 10:12].flatten())


@for_every(TEXTS)
def test_a_texts_logits_do_not_depend_on_the_padding_of_its_batch(settings):
    model = models.build(settings, (WORDS,), 3, seed=0).eval()
    spread(model)
    batch = tokens(12, 1, 5, 0, 11)
    with torch.no_grad():
        together = model(batch)
        for row, length in enumerate((12, 1, 5, 0, 11)):
            for width in (max(1, length), 12, 12 + row):
                alone = torch.zeros(1, width, dtype=batch.dtype)
                alone[0, :length] = batch[row, :length]
                torch.testing.assert_close(model(alone)[0], together[row], atol=2e-6, rtol=1e-5)
    assert together.isfinite().all()
    assert together.std(dim=0).min() > 1e-3  # the logits differ between the texts


@for_every(TEXTS)
def test_in_training_a_text_without_words_leaves_loss_and_gradient_finite(settings):
    model = models.build(settings, (WORDS,), 3, seed=0).train()
    model(tokens(0, 3, 12)).square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()


def spread(model: nn.Module) -> None:
    """Draw larger weights for the last layer, so that the logits differ visibly."""
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(100)


@for_every([text for text in TEXTS if text.kind != "textcnn"])
def test_the_logits_depend_on_the_order_of_the_words(settings):
    model = models.build(settings, (WORDS,), 2, seed=0).eval()
    spread(model)
    batch = tokens(12)
    with torch.no_grad():
        assert (model(batch) - model(batch[:, torch.randperm(12)])).abs().max() > 1e-3


def test_masked_pooling_equals_naive_loops():
    features = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    lengths = [6, 1, 4, 0]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    for row, length in enumerate(lengths):
        words = features[row, :length]
        expected = {
            "mean": sum(words) / length if length else torch.zeros(3),
            "max": torch.stack([max(words[:, i]) for i in range(3)]) if length else torch.zeros(3),
            "last": words[length - 1] if length else torch.zeros(3),
        }
        for kind, result in expected.items():
            torch.testing.assert_close(text_layers.pool(features, mask, kind)[row], result)


def test_reversed_texts_keep_their_padding_at_the_end():
    batch = tokens(5, 3, 0, width=5)
    words = batch[:, :, None].float()
    got = text_layers.reverse(words, batch != 0)[:, :, 0].long()
    for row, length in enumerate((5, 3, 0)):
        expected = [*batch[row, :length].tolist()[::-1], *[0] * (5 - length)]
        assert got[row].tolist() == expected


def test_trim_drops_columns_of_padding_but_leaves_one_column():
    assert text_layers.trim(tokens(3, 5, width=12)).shape == (2, 5)
    assert text_layers.trim(tokens(0, 0, width=12)).shape == (2, 1)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("layers_", [1, 2])
def test_reading_forwards_equals_torchs_packed_sequences(cell, layers_):
    encoder = text_layers.Recurrence(cell, 4, 3, layers_, bidirectional=False)
    words, lengths = torch.randn(3, 7, 4), [7, 2, 5]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(encoder.readers[0](packed)[0], batch_first=True)
    got = encoder(words, mask)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(got[row, :length], expected[row, :length])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_reading_both_ways_equals_torchs_own_bidirectional_module(cell, pooling):
    encoder = text_layers.Recurrence(cell, 4, 3, 1, bidirectional=True)
    torchs = text_layers.CELLS[cell](4, 3, batch_first=True, bidirectional=True)
    own = {}
    for reader, suffix in zip(encoder.readers, ("", "_reverse"), strict=True):
        own |= {key + suffix: tensor for key, tensor in reader.state_dict().items()}
    torchs.load_state_dict(own)
    words, lengths = torch.randn(3, 7, 4), [7, 2, 5]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = torchs(packed)
    outputs, _ = pad_packed_sequence(outputs, batch_first=True)
    got = text_layers.pool(encoder(words, mask), mask, pooling)
    for row, length in enumerate(lengths):
        text = outputs[row, :length]
        state = (last[0] if cell == "lstm" else last)[:, row].flatten()
        expected = {"last": state, "mean": text.mean(dim=0), "max": text.amax(dim=0)}
        torch.testing.assert_close(got[row], expected[pooling])


def test_convolutions_over_words_equal_naive_loops():
    encoder = text_layers.WordConvolutions(4, 2, (2, 3))
    words = torch.randn(1, 5, 4)
    got = encoder(words, torch.ones(1, 5, dtype=torch.bool))[0]
    longer = torch.cat([words[0], torch.zeros(2, 4)])
    for start in range(5):
        for number, window in enumerate(encoder.windows):
            for channel in range(2):
                total = window.bias[channel].clone()
                for i in range(window.kernel_size[0]):
                    total += window.weight[channel, :, i] @ longer[start + i]
                result = got[start, 2 * number + channel]
                torch.testing.assert_close(result, total.relu(), atol=1e-6, rtol=1e-5)


def test_positions_are_the_papers_sines_and_cosines():
    got = text_layers.positions(9, 6).numpy()
    for word in range(9):
        for i in range(3):
            angle = word / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(got[word, 2 * i], np.sin(angle), atol=1e-6)
            np.testing.assert_allclose(got[word, 2 * i + 1], np.cos(angle), atol=1e-6)
    assert text_layers.positions(4, 5).shape == (4, 5)


def test_attention_computes_the_papers_formula():
    """In NumPy: Vaswani et al. 2017, equation 1, with LayerNorm before each part."""
    encoder = text_layers.SelfAttention(4, 1, 1, 5, dropout=0.0).eval()
    words = torch.randn(1, 6, 4)
    got = encoder(words, torch.ones(1, 6, dtype=torch.bool))[0].detach().numpy()
    p = {key: t.double().numpy() for key, t in encoder.encoder.state_dict().items()}

    def norm(x, key):
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * p[f"{key}.weight"] + p[f"{key}.bias"]

    x = 2 * words[0].double().numpy() + text_layers.positions(6, 4).double().numpy()
    inner = norm(x, "layers.0.norm1")
    query, key, value = np.split(
        inner @ p["layers.0.self_attn.in_proj_weight"].T + p["layers.0.self_attn.in_proj_bias"],
        3,
        axis=1,
    )
    weights = np.exp(query @ key.T / 2)
    mixed = (weights / weights.sum(axis=1, keepdims=True)) @ value
    x = (
        x
        + mixed @ p["layers.0.self_attn.out_proj.weight"].T
        + p["layers.0.self_attn.out_proj.bias"]
    )
    inner = norm(x, "layers.0.norm2")
    hidden = np.maximum(inner @ p["layers.0.linear1.weight"].T + p["layers.0.linear1.bias"], 0)
    x = x + hidden @ p["layers.0.linear2.weight"].T + p["layers.0.linear2.bias"]
    np.testing.assert_allclose(got, norm(x, "norm"), atol=1e-5)


def test_a_transformers_dropout_is_all_seeded():
    """torch's own dropout would draw from the global generator, in an order that threads decide."""
    model = models.build(TEXTS[-1], (WORDS,), 2, seed=0)
    for part in model.modules():
        assert not (type(part) is nn.Dropout and part.p)
        assert not (isinstance(part, nn.MultiheadAttention) and part.dropout)
        assert not (isinstance(part, nn.RNNBase) and part.dropout)
    outputs = []
    for _ in range(2):
        layers.seed_dropout(model, torch.device("cpu"), 1)
        outputs.append(model(tokens(12, 3)))
    assert torch.equal(*outputs)


def vectors(dimensions: int = 4) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(WORDS, dimensions))
    return rows.astype(np.float32)


def trained_embedding(frozen: bool, ema: float = 0.9):
    """The embedding after steps of Adam with every penalty and average that could change it."""
    words = EmbeddingSettings(vectors="some file", frozen=frozen, dropout=0.0)
    settings = Recurrent(embedding=words, hidden=5, cell="rnn", dropout=0.0)
    model = models.build(settings, (WORDS,), 2, seed=0, vectors=vectors())
    strict = OptimizerSettings(learning_rate=0.1, l2=0.5, l1=0.1)
    optimization = Optimization(model, strict, ema, threads=2)

    def forward(module, texts, labels):
        loss = nn.functional.cross_entropy(module(texts), labels)
        return loss, {"loss": loss}

    for step in range(5):
        texts = tokens(*range(1, 13), seed=step)
        optimization.step(forward, [texts, torch.arange(12) % 2], 0.0)
    key = "embedding.0.weight"
    return model.state_dict()[key], optimization.averaged_state()[key], optimization.weights()[key]


def test_frozen_vectors_do_not_move_under_penalties_averages_and_several_threads():
    expected = vectors()
    expected[0] = 0
    for trained in trained_embedding(frozen=True):
        assert np.array_equal(np.asarray(trained), expected)


@pytest.mark.parametrize("frozen", [True, False])
def test_pretrained_vectors_are_the_initial_ones_except_for_padding(frozen):
    words = EmbeddingSettings(vectors="some file", frozen=frozen)
    model = models.build(TextCNN(embedding=words), (WORDS,), 2, seed=0, vectors=vectors())
    initial = model.state_dict()["embedding.0.weight"].numpy()
    assert np.array_equal(initial[1:], vectors()[1:])
    assert not initial[0].any()


def test_pretrained_vectors_that_are_not_frozen_are_trained_except_for_padding():
    for trained in trained_embedding(frozen=False):
        moved = np.abs(np.asarray(trained) - vectors()).max(axis=1)
        assert (moved[1:] > 1e-3).all()
        assert not np.asarray(trained)[0].any()


def test_vectors_of_words_that_do_not_occur_do_not_shrink():
    """With L2, Adam would shrink them quickly: it takes full steps along the smallest gradient."""
    model = models.build(TextCNN(embedding=SMALL), (WORDS,), 2, seed=0)
    before = model.embedding[0].weight.detach().clone()
    optimization = Optimization(model, OptimizerSettings(learning_rate=0.1, l2=0.5))

    def forward(module, texts):
        loss = module(texts).square().mean()
        return loss, {"loss": loss}

    for _ in range(5):
        optimization.step(forward, [torch.tensor([[1, 2, 3], [3, 2, 0]])], 0.0)
    assert torch.equal(model.embedding[0].weight[4:], before[4:])
    assert not torch.equal(model.embedding[0].weight[1:4], before[1:4])
    assert not model.embedding[0].weight[0].any()  # though windows reached into the padding


def test_vectors_set_the_embeddings_width_and_a_model_without_them_can_load_it():
    words = EmbeddingSettings(dimensions=4, vectors="gone.txt", frozen=True)
    settings = TextCNN(embedding=words, channels=3)
    source = models.build(settings, (WORDS,), 2, seed=0, vectors=vectors(4))
    target = models.build(settings, (WORDS,), 2, seed=1)
    load(target, {key: t.numpy() for key, t in source.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(source.eval()(tokens(5, 9)), target.eval()(tokens(5, 9)))
    wide = models.build(settings, (WORDS,), 2, seed=0, vectors=vectors(9))
    assert wide.embedding[0].weight.shape == (WORDS, 9)


@pytest.mark.parametrize("kind", ["he", "xavier"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_every_image_model_takes_either_initialization(kind, activation):
    chosen = {"initialization": kind, "activation": activation}
    gain = {"relu": 2, "leaky_relu": 2 / 1.0001, "tanh": 25 / 9, "sigmoid": 1}[activation]
    for settings, fans in ((MLP(**chosen), (784, 128)), (CNN(**chosen), (64 * 49, 128))):
        model = models.build(settings, (1, 28, 28), 10, seed=0)
        dense = next(part for part in model if isinstance(part, nn.Linear))
        expected = gain / fans[0] if kind == "he" else 2 / sum(fans)
        assert dense.weight.var().item() == pytest.approx(expected, rel=0.03)
    tower = models.build(ResNet(initialization=kind), (1, 28, 28), 10, seed=0).tower
    expected = 2 / (9 * 48) if kind == "he" else 2 / (9 * 96)
    assert tower[-1].body[0].weight.var().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "shape", "given", "message"),
    [
        (CNN(channels=(4, 4, 4, 4)), (1, 8, 8), None, "4 poolings leave nothing of images of 8x8"),
        (ResNet(), (1, 7, 8), None, "shrink 2 does not divide images of 7x8; 1 does"),
        (Transformer(heads=3), (WORDS,), None, "heads 3 do not divide a word's 128 dimensions"),
        (TextCNN(), (9,), vectors(), "30 vectors were given for a vocabulary of 9 words"),
        (
            TextCNN(embedding=EmbeddingSettings(frozen=True)),
            (WORDS,),
            None,
            r"frozen needs model\.embedding\.vectors",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(settings, shape, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.build(settings, shape, 2, seed=0, vectors=given)
    assert "\n" not in str(caught.value)


def test_bfloat16_replicas_of_every_model_give_nearly_the_same_gradient():
    shapes = [(1, 8, 8)] * len(IMAGES) + [(WORDS,)] * len(TEXTS)
    optimizer = OptimizerSettings(gradient_clip=0)
    for settings, shape in zip(IMAGES + TEXTS, shapes, strict=True):
        inputs = images(8, 8) if settings in IMAGES else tokens(*range(1, 9))
        norms = []
        for precision in ("float32", "bfloat16"):
            model = models.build(settings, shape, 2, seed=0)
            optimization = Optimization(model, optimizer, precision=precision)

            def forward(module, x, labels, dtype=PRECISIONS[precision]):
                layers.seed_dropout(module, x.device, 0)
                output = module(x.to(dtype) if x.is_floating_point() else x).float()
                loss = nn.functional.cross_entropy(output, labels)
                return loss, {"loss": loss}

            norms.append(optimization.step(forward, [inputs, torch.arange(8) % 2], 0.0))
        assert norms[0]["loss"] == pytest.approx(norms[1]["loss"], rel=0.02)
        assert norms[0]["gradient_norm"] == pytest.approx(norms[1]["gradient_norm"], rel=0.1)
