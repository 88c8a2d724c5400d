"""The pictures of the pages of games are those that their script draws."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs"
MAKER = runpy.run_path(str(FOLDER / "game_pictures.py"))


@pytest.mark.parametrize("name", MAKER["PICTURES"])
def test_a_games_picture_is_up_to_date(name):
    drawn = MAKER["draw"](MAKER["PICTURES"][name])
    committed = (FOLDER / "games" / f"{name}.svg").read_text(encoding="utf-8")
    assert drawn == committed, f"run python docs/game_pictures.py {name}"


def test_every_page_of_a_game_shows_its_picture():
    for name in MAKER["PICTURES"]:
        page = (FOLDER / "games" / f"{name}.md").read_text(encoding="utf-8")
        assert f"({name}.svg)" in page


def test_a_move_that_is_not_legal_is_refused():
    position = type(next(iter(MAKER["PICTURES"].values())))("tic_tac_toe", "5 5")
    with pytest.raises(ValueError, match="tic_tac_toe: 5 is not legal here: 5 5"):
        MAKER["draw"](position)
