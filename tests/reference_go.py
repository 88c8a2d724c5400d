"""Go on dictionaries and sets, one stone at a time, with positional superko: slow and plain.

It shares nothing with ``games/go_kernels.py`` but the rules: boards are compared stone by stone.
"""

EMPTY, STONES = ".", "XO"


class Board:
    """A position and all positions before it; ``play`` gives a new one."""

    def __init__(self, size, history=0):
        """``history``: how many positions before this one superko remembers; 0: all."""
        self.size, self.history, self.mover, self.passes = size, history, "X", 0
        self.stones = {}
        """The colour of each stone by its ``(row, column)``, row 0 at the top."""
        self.seen = [frozenset()]
        """Every set of stones that has been on the board, in order, this one included."""

    def around(self, point):
        row, column = point
        beside = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        return [p for p in beside if min(p) >= 0 and max(p) < self.size]

    def region(self, stones, point):
        """The connected points with the same content as ``point``, and what borders on them."""
        kind, region, border, open_ = stones.get(point), set(), set(), [point]
        while open_:
            here = open_.pop()
            if here in region:
                continue
            region.add(here)
            for other in self.around(here):
                (open_.append if stones.get(other) == kind else border.add)(other)
        return region, border

    def liberties(self, stones, point):
        return {p for p in self.region(stones, point)[1] if p not in stones}

    def placed(self, point):
        """The stones after the mover's stone on ``point``; None where that is suicide."""
        stones = self.stones | {point: self.mover}
        for other in self.around(point):
            if stones.get(other, self.mover) != self.mover and not self.liberties(stones, other):
                for taken in self.region(stones, other)[0]:
                    del stones[taken]
        return stones if self.liberties(stones, point) else None

    def may_place(self, point):
        if point in self.stones:
            return False
        stones = self.placed(point)
        remembered = self.seen[-self.history - 1 :] if self.history else self.seen
        return stones is not None and frozenset(stones.items()) not in remembered

    def points(self):
        return [(row, column) for row in range(self.size) for column in range(self.size)]

    def legal(self):
        """The actions, as in ``games.go``: points row by row, then a pass."""
        if self.passes == 2:
            return []
        points = [i for i, point in enumerate(self.points()) if self.may_place(point)]
        return [*points, self.size**2]

    def play(self, action):
        after = Board(self.size, self.history)
        after.mover = STONES[self.mover == "X"]
        if action == self.size**2:
            after.stones, after.passes, after.seen = self.stones, self.passes + 1, self.seen
        else:
            after.stones = self.placed(divmod(action, self.size)) or {}
            after.seen = [*self.seen, frozenset(after.stones.items())]
        return after

    def owners(self):
        """``X``, ``O`` or ``.`` of each point, row by row."""
        owners = []
        for point in self.points():
            if point in self.stones:
                owners.append(self.stones[point])
            else:
                bordering = {self.stones[p] for p in self.region(self.stones, point)[1]}
                owners.append(bordering.pop() if len(bordering) == 1 else EMPTY)
        return owners

    def margin(self):
        """Black's area less White's."""
        owners = self.owners()
        return owners.count("X") - owners.count("O")

    def weak(self):
        """The stones whose chains have one liberty, and those with two."""
        counts = {p: len(self.liberties(self.stones, p)) for p in self.stones}
        return [{p for p, count in counts.items() if count == n} for n in (1, 2)]
