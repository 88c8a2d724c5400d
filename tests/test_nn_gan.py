"""Generator and discriminator: their losses by hand, their loop interrupted, their images."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from alphazero.nn import fit, gan, state
from alphazero.nn.fit import Examples, Hooks
from alphazero.nn.settings import GAN, FitSettings, OptimizerSettings, ScheduleSettings
from alphazero.nn.weights import load

SMALL = GAN(noise=6, channels=4)
OPTIMIZER = OptimizerSettings(
    learning_rate=2e-3,
    l2=0,
    gradient_clip=0,
    momentum=0.5,
    schedule=ScheduleSettings(kind="constant", warmup_steps=0),
)


def stripes(count: int = 96) -> Examples:
    """8×8 images with bright rows (class 0) or bright columns (class 1)."""
    rng = np.random.default_rng(0)
    images, labels = np.zeros((count, 1, 8, 8), np.uint8), rng.integers(0, 2, count)
    for image, label in zip(images, labels, strict=True):
        image[0, ::2] = rng.integers(200, 256)
        if label:
            image[0] = image[0].T
    return Examples(images, labels)


def trainer(
    settings: GAN = SMALL, seed: int = 0, **options
) -> tuple[gan.Generator, gan.GanTrainer]:
    chosen = FitSettings(**{"epochs": 4, "batch_size": 32, "device": "cpu"} | options)
    pair = gan.build(settings, (1, 8, 8), 2, seed=seed)
    return pair[0], gan.GanTrainer(pair, OPTIMIZER, chosen, fit.planned_steps(96, chosen), seed=3)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("side", [28, 8])
def test_the_networks_shapes_fit_each_other_and_the_images(conditional, side):
    settings = GAN(noise=5, channels=3, conditional=conditional)
    generator, discriminator = gan.build(settings, (1, side, side), 10, seed=0)
    labels = torch.arange(7) + 2
    images = generator(torch.randn(7, 5), labels)
    assert images.shape == (7, 1, side, side)
    assert images.abs().max() < 1
    assert discriminator(images, labels).shape == (7,)


def test_both_networks_depend_on_the_class_only_if_they_are_conditional():
    for conditional in (True, False):
        settings = GAN(noise=5, channels=3, conditional=conditional)
        generator, discriminator = (net.eval() for net in gan.build(settings, (1, 8, 8), 3, seed=0))
        noise, images = torch.randn(2, 5), torch.rand(2, 1, 8, 8)
        zeros, ones = torch.tensor([0, 0]), torch.tensor([1, 1])
        with torch.no_grad():
            generated = torch.equal(generator(noise, zeros), generator(noise, ones))
            judged = torch.equal(discriminator(images, zeros), discriminator(images, ones))
        assert generated == judged == (not conditional)


def test_a_label_beyond_the_classes_is_refused():
    generator, discriminator = gan.build(SMALL, (1, 8, 8), 2, seed=0)
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        gan.generate(generator, 2, seed=0, labels=np.array([0, 2]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        discriminator(torch.zeros(2, 1, 8, 8), torch.tensor([0, 2]))


def test_the_first_weights_depend_on_the_seed_alone():
    first, again, other = (gan.build(SMALL, (1, 8, 8), 2, seed=seed) for seed in (1, 1, 2))
    for network in range(2):
        left, right = first[network].state_dict(), again[network].state_dict()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert not torch.equal(first[0].image[0].weight, other[0].image[0].weight)
    assert first[0].image[0].weight.std().item() == pytest.approx(gan.DEVIATION, rel=0.2)


def test_images_that_are_no_multiple_of_four_are_refused():
    with pytest.raises(ValueError, match="4 does not divide the height and width of 30x28"):
        gan.build(SMALL, (1, 30, 28), 2, seed=0)


def test_the_first_steps_losses_equal_the_hand_computation():
    """Goodfellow et al. 2014: -log D(G(z)) for the generator; for the discriminator binary cross
    entropy with 0.9 for real images and 0 for generated ones."""
    _, made = trainer(threads=1)
    discriminator = made._discriminator._replicas._replicas[0].module
    seen = []
    discriminator.register_forward_hook(
        lambda module, given, output: seen.append((given[0], output))
    )
    figures = made._step(
        torch.from_numpy(stripes(7).inputs) / 147.5 - 1, torch.from_numpy(stripes(7).labels)
    )
    # Two batches: in one, BatchNorm would normalize real and generated images together.
    assert [len(given) for given, _ in seen] == [7, 7]
    images, outputs = (torch.cat(parts).detach() for parts in zip(*seen, strict=True))
    outputs = outputs.double().numpy()
    assert torch.equal(images[:7], torch.from_numpy(stripes(7).inputs) / 147.5 - 1)
    chances = 1 / (1 + np.exp(-outputs))
    real = -(0.9 * np.log(chances[:7]) + 0.1 * np.log(1 - chances[:7]))
    fake = -np.log(1 - chances[7:])
    expected = np.concatenate([real, fake]).mean()
    assert figures["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
    right = ((outputs[:7] > 0).sum() + (outputs[7:] <= 0).sum()) / 14
    assert figures["discriminator_accuracy"] == pytest.approx(right)
    _, judge = gan.build(SMALL, (1, 8, 8), 2, seed=0)
    with torch.no_grad():
        logits = judge(images[7:], torch.from_numpy(stripes(7).labels))
    assert figures["loss"] == pytest.approx(-functional.logsigmoid(logits).mean().item(), rel=1e-5)
    assert figures["loss"] == pytest.approx(math.log(2), rel=0.05)


def test_generated_images_reach_the_discriminator_in_the_order_of_their_labels():
    """Each image was generated from the noise in its label's row, by whatever thread."""
    _, made = trainer(threads=3)
    image_of, handed = {}, []
    for replica in made._generator._replicas._replicas:
        replica.module.register_forward_hook(
            lambda module, given, output: image_of.update(
                zip(map(bytes, given[0].numpy()), output.detach(), strict=True)
            )
        )
    for part in (made._generator, made._discriminator):
        part.step = lambda forward, tensors, done, step=part.step: (
            handed.append(tensors) or step(forward, tensors, done)
        )
    made.epoch(Examples(*(part[:32] for part in stripes())))
    (noise, condition, _), (_, images, labels) = handed
    assert len(image_of) == 32
    assert torch.equal(condition, labels)
    assert torch.equal(images, torch.stack([image_of[bytes(row)] for row in noise.numpy()]))


def test_each_step_moves_one_network_by_its_own_gradient():
    """The generator's step does not change the discriminator, nor the other way round."""
    _, made = trainer()
    before = made.state()
    made._discriminator.step = lambda *_: {"loss": 0.0, "accuracy": 0.0, "learning_rate": 0.0}
    made.epoch(stripes())
    after = made.state()
    same = [
        torch.equal(before[net]["network"][key], after[net]["network"][key])
        for net, key in (("discriminator", "judge.0.weight"), ("generator", "image.0.weight"))
    ]
    assert same == [True, False]


@pytest.mark.parametrize("count", [1, 2])
def test_two_epochs_and_two_resumed_ones_equal_four_bit_for_bit(count):
    _, whole = trainer(threads=count, ema=0.9)
    states = []
    expected = fit.fit(whole, stripes(), hooks=Hooks(saved=lambda s: states.append(state.dump(s))))
    _, second = trainer(seed=5, threads=count, ema=0.9)
    history = fit.fit(second, stripes(), state=state.load(states[1]))
    for row, other in zip(history, expected, strict=True):
        assert {**row, "minutes": 0} == {**other, "minutes": 0}
    left, right = whole.weights(), second.weights()
    assert all(np.array_equal(left[key], right[key]) for key in left)


def test_generated_images_depend_on_seed_and_labels_and_not_on_the_batches():
    generator, made = trainer()
    made.epoch(stripes())
    with torch.no_grad():
        generator.image[-2].weight.mul_(1000)  # its images are still all grey
    images = gan.generate(generator, 9, seed=1)
    assert images.shape == (9, 1, 8, 8)
    assert images.dtype == np.uint8
    in_turn = np.arange(9) % 2
    assert np.array_equal(images, gan.generate(generator, 9, seed=1, labels=in_turn))
    other = gan.generate(generator, 9, seed=1, batch_size=4).astype(int)
    assert np.abs(other - images).max() <= 1
    assert not np.array_equal(images, gan.generate(generator, 9, seed=2))
    assert not np.array_equal(images, gan.generate(generator, 9, seed=1, labels=1 - in_turn))


def test_a_trained_generator_makes_images_of_the_given_classes():
    generator, made = trainer(GAN(noise=6, channels=8), epochs=60)
    fit.fit(made, stripes())
    images = gan.generate(generator, 40, seed=0).astype(float)
    rows, columns = images.mean(axis=3)[:, 0], images.mean(axis=2)[:, 0]
    rows, columns = (m[:, ::2].mean(axis=1) - m[:, 1::2].mean(axis=1) for m in (rows, columns))
    classes = np.arange(40) % 2
    assert ((columns > rows) == classes).mean() > 0.9
    assert np.where(classes, columns, rows).mean() > 100


def test_the_trainers_weights_are_the_generators_and_load_into_a_new_one():
    generator, made = trainer(ema=0.5)
    fit.fit(made, stripes())
    fresh, _ = gan.build(SMALL, (1, 8, 8), 2, seed=9)
    load(fresh, made.weights())
    assert np.array_equal(gan.generate(fresh, 5, seed=0), gan.generate(generator, 5, seed=0))
