"""The page on which a person plays, analyses positions and watches runs.

``main`` runs the server on this machine; ``app`` has its paths. ``offers`` are the games, players
and runs that the page may name, ``engines`` loads players and searches when they are first needed,
``analysis`` searches the positions of all open pages in turn, ``runs`` reads folders of runs. The
server keeps nothing but caches: every request holds the whole game.

``page/`` is the page itself: JavaScript modules without a build step. Those that need no server,
as the board, are in ``alphazero/judging/page``: notebooks show them, too.
"""
