"""PNG pictures: curves of a training, confusion matrices, searches for settings, images.

Each picture is a ``Figure`` of its own, drawn without pyplot, so there is no window, no backend and
no shared state. ``ValueError`` everywhere where matplotlib is missing.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphazero.nn import extras

DPI = 110
COLOURS = ("#2a86d1", "#cc6a1f", "#2f9160", "#b662c4")
STYLES = ("-", "--", "-.", ":")
"""Curves differ in style as well as in colour, for readers who do not see the colours."""
SCALE = "viridis"
"""Colour map of matrices and of candidates, from low to high."""
CURVES = {
    "loss": {"training": "loss", "validation": "validation_loss"},
    "accuracy": {"training": "accuracy", "validation": "validation_accuracy"},
    "discriminator": {"loss": "discriminator_loss", "accuracy": "discriminator_accuracy"},
}
"""The panels: by title, for each curve its label and its key in a row of the history."""
WRITTEN = 20
"""Largest number of rows or columns of a matrix whose cells contain their figures."""
LABELLED = 8
"""Largest number of different values of a key that are all written at its axis."""
DECADE = 10.0
"""Positive numbers whose largest is at least this many times the smallest have a logarithmic
axis."""


def curves(
    history: Sequence[Mapping[str, float]],
    path: Path,
    panels: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Draw figures over epochs; ``history`` has one row per epoch, ``panels`` is as ``CURVES``.

    Panels and curves for which no row has a figure are left out. ``ValueError`` where none is left.
    """
    wanted = panels or CURVES
    known = {key for row in history for key in row}
    shown = {title: keys for title, keys in wanted.items() if known & set(keys.values())}
    if not shown:
        raise ValueError(f"the history has none of the figures of {', '.join(wanted)}")
    figure = _figure(5 * len(shown), 3.6)
    for axes, (title, keys) in zip(_row(figure, len(shown)), shown.items(), strict=True):
        for index, (label, key) in enumerate(keys.items()):
            points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
            if points:
                look = {"color": COLOURS[index % 4], "linestyle": STYLES[index % 4]}
                axes.plot(*zip(*points, strict=True), label=label, marker=".", **look)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def confusion(counts: NDArray[np.integer], classes: Sequence[str], path: Path) -> None:
    """Draw ``counts`` ``[K, K]``, truth in rows; a cell's colour is its share of its row."""
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    texts = [[f"{count:,}" if count else "" for count in row] for row in counts]
    figure = _matrix(shares, texts, (classes, classes), ("predicted", "truth"), (0.0, 1.0))
    right = int(np.trace(counts))
    figure.axes[0].set_title(f"{right:,} of {int(totals.sum()):,} right")
    _save(figure, path)


def heat_map(
    values: NDArray[np.floating],
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    path: Path,
    title: str = "accuracy",
) -> None:
    """Draw ``values`` ``[R, C]``; ``rows`` and ``columns`` are the name and labels of each axis.

    A cell of NaN stays empty.
    """
    known = values[~np.isnan(values)]
    ends = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    texts = [["" if math.isnan(value) else f"{value:.4f}" for value in row] for row in values]
    labels, names = (columns[1], rows[1]), (columns[0], rows[0])
    figure = _matrix(values, texts, labels, names, ends)
    figure.axes[0].set_title(title)
    _save(figure, path)


def parallel_coordinates(
    values: Mapping[str, Sequence[str]],
    scores: ArrayLike,
    path: Path,
    title: str = "accuracy",
) -> None:
    """Draw one line per candidate, from its value of each key to its score on the last axis.

    ``values`` has for every key one text per candidate, ``scores`` ``[N]`` one number. Numbers are
    placed by size, on a logarithmic axis where they are positive and span a decade or more; words
    in the order in which they first occur. The best candidates are drawn last, on top.
    """
    figures = np.asarray(scores, dtype=float)
    columns = [_places(list(texts)) for texts in values.values()]
    columns.append(_places([f"{score:.4f}" for score in figures]))
    lines = np.array([places for places, _ in columns]).T
    figure = _figure(1.6 + 1.9 * len(columns), 4.2)
    axes = figure.subplots()
    colours = _colours(figures)
    for index in np.argsort(figures, kind="stable"):
        axes.plot(lines[index], color=colours[index], linewidth=1.6, alpha=0.85)
    background = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.75}
    for place, (_, ticks) in enumerate(columns):
        axes.axvline(place, color="black", linewidth=0.8)
        for height, text in ticks.items():
            axes.annotate(
                text, (place, height), (4, 0), textcoords="offset points", va="center",
                fontsize=9, bbox=background,
            )  # fmt: skip
    names = [*(key.replace(".", ".\n") for key in values), title]
    axes.set_xticks(range(len(columns)), names)
    axes.set(yticks=[], xlim=(-0.1, len(columns) - 0.7), ylim=(-0.05, 1.05))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _save(figure, path)


def images(
    pictures: NDArray[np.uint8], path: Path, columns: int = 10, names: Sequence[str] = ()
) -> None:
    """Draw ``pictures`` ``uint8 [N, 1, H, W]``, 0 black and 255 white, row by row.

    ``names`` are written above the columns. ``ValueError`` for another shape or type.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] != 1:
        raise ValueError(
            f"pictures are {pictures.dtype} {pictures.shape}, should be uint8 [N, 1, height, width]"
        )
    count, _, height, width = pictures.shape
    rows = math.ceil(count / columns)
    # Each image gets a white line below and at its right; those at the sheet's edges are cut off.
    framed = np.full((rows * columns, height + 1, width + 1), 255, np.uint8)
    framed[:count, :height, :width] = pictures[:, 0]
    tiles = framed.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    sheet = tiles.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
    figure = _figure(0.6 * columns, 0.6 * rows * height / width + (0.3 if names else 0))
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(yticks=[])
    axes.set_xticks([width / 2 + index * (width + 1) for index in range(len(names))], names)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def check() -> None:
    """``ValueError``, one line, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ValueError(extras.missing("pictures need matplotlib", "supervised")) from None


def _figure(width: float, height: float) -> Any:
    check()
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout="constrained")


def _row(figure: Any, count: int) -> list[Any]:
    return list(figure.subplots(1, count, squeeze=False)[0])


def _save(figure: Any, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # which matplotlib brings

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # A palette of 256 colours makes the file a third of the size without a visible difference.
    picture.quantize(256, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def _matrix(
    values: NDArray[np.floating],
    texts: Sequence[Sequence[str]],
    labels: tuple[Sequence[str], Sequence[str]],
    names: tuple[str, str],
    ends: tuple[float, float],
) -> Any:
    """The figure of a coloured table ``[R, C]`` with ``texts`` in its cells.

    ``labels`` and ``names`` are those of the columns and of the rows; ``ends`` are the values of
    the darkest and the brightest colour.
    """
    rows, columns = values.shape
    cell = 0.62 if max(rows, columns) <= WRITTEN else 0.16
    figure = _figure(max(3.6, 1.6 + cell * columns * 1.15), max(3.0, 1.2 + cell * rows))
    axes = figure.subplots()
    axes.imshow(values, cmap=SCALE, vmin=ends[0], vmax=ends[1], aspect="auto")
    slanted = {"rotation": 45, "ha": "right"} if max(map(len, labels[0])) > 5 else {}
    axes.set_xticks(range(columns), labels[0], **slanted)
    axes.set_yticks(range(rows), labels[1])
    axes.set(xlabel=names[0], ylabel=names[1])
    if max(rows, columns) <= WRITTEN:
        middle = (ends[0] + ends[1]) / 2
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > middle else "white"
            axes.text(column, row, texts[row][column], ha="center", va="center", color=shade)
    return figure


def _places(texts: Sequence[str]) -> tuple[NDArray[np.float64], dict[float, str]]:
    """The place of each value on an axis from 0 to 1, and the texts of the axis by place.

    "1e-4", "1e-3", "1e-2" have the places 0, 0.5 and 1, for they are a decade apart.
    """
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        numbers = np.array([list(dict.fromkeys(texts)).index(text) for text in texts], float)
        return _stretch(numbers), dict(zip(_stretch(numbers), texts, strict=True))
    if numbers.min() > 0 and numbers.max() >= DECADE * numbers.min():
        numbers = np.log(numbers)
    places = _stretch(numbers)
    ticks = dict(zip(places.tolist(), texts, strict=True))
    if len(ticks) > LABELLED:
        # Evenly spaced places are chosen, and of each the nearest value is written.
        even = np.linspace(0, 1, LABELLED - 2)
        chosen = {min(ticks, key=lambda place: abs(place - target)) for target in even}
        ticks = {place: ticks[place] for place in sorted(chosen)}
    return places, ticks


def _stretch(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale numbers to 0 (the smallest) to 1 (the largest); equal ones become 0.5."""
    span = numbers.max() - numbers.min()
    return (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)


def _colours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours ``[N, 4]`` from dark (the lowest value) to bright (the highest)."""
    from matplotlib import colormaps

    return colormaps[SCALE](0.9 * _stretch(values))
