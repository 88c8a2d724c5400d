"""Benchmarks of the whole Ray topology, in miniature."""

import pytest

from workers import bench

pytestmark = pytest.mark.usefixtures("ray_session")

SMALL = ["config=tic_tac_toe", "games=4", "simulations=4", "blocks=1", "channels=8"]


def test_self_play_on_ray_is_compared_with_the_network_alone():
    figures = bench.run(
        "selfplay", [*SMALL, "ray=local", "seconds=0.4", "threads=1", "selfplay.workers=1"]
    )
    assert figures["ray"] == "local"
    assert (figures["workers"], figures["servers"]) == (1, 1)
    share = figures["evaluations_per_second"] / figures["ceiling_evaluations_per_second"]
    assert figures["fraction_of_ceiling"] == pytest.approx(share)
    assert figures["simulations_per_second"] == pytest.approx(4 * figures["positions_per_second"])
    # A finished game costs no evaluation, nor does a position that is known already.
    assert 0 < figures["evaluations_per_second"] < figures["simulations_per_second"]
