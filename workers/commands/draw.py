"""``alphazero draw``: a position as a picture, or a game as an animation."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workers.terminal.options import add_game, new_file

if TYPE_CHECKING:
    from alphazero.judging.session import Session

HELP = "draw a position, or a game, as a picture"
EPILOG = """\
examples:
  alphazero draw connect_four 44537 --to board.svg
  alphazero draw chess 'e4 e5 Nf3' --to board.png --zoom 2
  alphazero draw othello 'd3 c5 f6' --to game.gif
  alphazero draw go:size=9 --load game.sgf --to game.gif

MOVES are those from the start of the game, as for `alphazero play --moves`. An SVG or a PNG
shows the position after them, a GIF the whole game, a move per frame"""

ENDINGS = (".svg", ".png", ".gif")


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    parser.add_argument(
        "moves", metavar="MOVES", nargs="?", default="", help="default: the initial position"
    )
    parser.add_argument(
        "--load",
        metavar="FILE",
        help="the first game of this file, as `alphazero play --load` reads it, instead of MOVES",
    )
    parser.add_argument(
        "--to", type=picture, required=True, metavar="FILE", help="a new file: .svg, .png or .gif"
    )
    parser.add_argument(
        "--zoom", type=zoom, metavar="X", help="size of a PNG or GIF, 0.1 to 10; default 1"
    )


def picture(text: str) -> Path:
    """A new file whose ending is one of ``ENDINGS``."""
    file = new_file(text)
    if file.suffix.lower() not in ENDINGS:
        raise argparse.ArgumentTypeError(f"{text}: its name ends in {', '.join(ENDINGS)}")
    return file


def zoom(text: str) -> float:
    """A number from 0.1 to 10."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.1 to 10")
    return value


def run(options: argparse.Namespace) -> int:
    ending = options.to.suffix.lower()
    if ending == ".svg" and options.zoom is not None:
        raise ValueError("--zoom: an SVG has no size of its own: leave it out")
    if options.load is not None and options.moves:
        raise ValueError("--load: the file says which moves were played")
    if ending != ".svg":
        check_packages()
    import games
    from alphazero.judging import saved_games
    from games import raster

    played = saved_games.begin(games.make(options.game), options.moves, options.load)
    frames = pictures(played)
    if ending == ".gif":
        data = raster.gif(list(frames), options.zoom or 1.0)
    else:
        *_, last = frames
        png = ending == ".png"
        data = raster.png(last, options.zoom or 1.0) if png else f"{last}\n".encode()
    with options.to.open("xb") as file:
        file.write(data)
    print(options.to)
    return 0


def check_packages() -> None:
    """``ValueError``, one line, where a package for pictures of pixels is missing."""
    from alphazero.nn import extras
    from games import raster

    if missing := raster.missing():
        raise ValueError(extras.missing(f"PNG and GIF need {' and '.join(missing)}", "draw"))


def pictures(session: "Session") -> Iterator[str]:
    """An SVG per position of the game, from its start to the one on the board."""
    from games import svg

    last = [None, *session.actions]
    for states, action in zip(session.history, last, strict=True):
        yield svg.render(session.game.drawing(states[0], action))
