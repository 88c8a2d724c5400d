"""The page in figures: sizes, times, memory, many pages at once, hostile requests.

    python tests/benchmarks/web_page.py [sizes paint positions pages hostile] [--requests 10000]

The server is `alphazero web` in a process of its own, with the bundled agent of Connect Four; the
clients share the machine with it. ``paint`` and ``pages`` open pages in Debian's Chromium through
playwright. ``hostile`` sends a valid request to every path of a server with a run, and then the
same requests with one part changed: a parameter, the path, a header, the method.
"""

import argparse
import asyncio
import gzip
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import hostile_requests
import httpx
import numpy as np
import psutil

import games
from workers.web import files
from workers.web.offers import BUNDLED

PAGES = 20
POSITIONS = 1000
TOGETHER = 40
SLOW_SECONDS = 30.0
"""A request that takes longer counts as a hang."""


@contextmanager
def server(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of `alphazero web`."""
    words = [sys.executable, "-m", "alphazero", "web", *arguments, "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if match := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise SystemExit("the server did not start")
        # A full pipe would stop the server.
        draining = threading.Thread(target=deque, args=(process.stdout, 0))
        draining.start()
        try:
            yield match[0], psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
            draining.join()


def memory(process: psutil.Process) -> int:
    """Bytes of a process and of all its children."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            total += one.memory_info().rss
    return total


def print_sizes() -> None:
    """Bytes of all files of the page together, as they are and compressed by gzip."""
    sent = {
        path: file.content for path, file in files.table().items()
        if path != "/" and not path.endswith(".txt")
    }  # fmt: skip
    whole, small = (sum(map(len, sent.values())), sum(len(gzip.compress(c)) for c in sent.values()))
    print(f"sizes: {len(sent)} files, {whole / 1000:.1f} kB, {small / 1000:.1f} kB compressed")


@contextmanager
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    if (chromium := shutil.which("chromium")) is None:
        raise SystemExit("there is no chromium on this machine")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def print_paint() -> None:
    """Milliseconds to the first paint and to the board, seconds to the first analysis."""
    with server() as (address, _), browser() as opened:
        rows = [first_page(opened, address) for _ in range(10)]
    for name, column in zip(
        ("first paint", "board", "analysis"), zip(*rows, strict=True), strict=True
    ):
        print(f"{name}: median {statistics.median(column):.0f} ms, first page {column[0]:.0f} ms")


def first_page(opened, address: str) -> tuple[float, float, float]:
    """A new page without a cache of the browser: to its paint, its board, its first analysis."""
    context = opened.new_context()
    page = context.new_page()
    began = time.monotonic()
    page.goto(f"{address}/#game=connect_four&seat=both")
    page.wait_for_selector("svg.board")
    board = 1000 * (time.monotonic() - began)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    began = time.monotonic()
    page.get_by_role("checkbox", name="Analysis").check()
    page.wait_for_selector("table caption")
    analysis = 1000 * (time.monotonic() - began)
    context.close()
    return paint, board, analysis


def random_moves(rng: np.random.Generator) -> str:
    """An unfinished game of Connect Four."""
    game = games.make("connect_four")
    states, played = game.initial(1), []
    for _ in range(int(rng.integers(4, 20))):
        action = int(rng.choice(np.flatnonzero(game.legal(states)[0])))
        after = game.step(states, np.array([action]))
        if not np.isnan(game.outcome(after)[0]):
            break
        states = after
        played.append(str(action + 1))
    return ".".join(played)


def first_event(client: httpx.Client, moves: str, simulations: int = 200) -> float:
    """Seconds to the first report of an analysis; the stream is left then."""
    query = {"game": "connect_four", "player": BUNDLED, "moves": moves, "simulations": simulations}
    began = time.monotonic()
    with client.stream("GET", "/api/analyse", params=query) as answer:
        next(answer.iter_lines())
    return time.monotonic() - began


def print_positions() -> None:
    """Memory of the server before and after the analysis of a thousand positions."""
    rng = np.random.default_rng(0)
    with server() as (address, process), httpx.Client(base_url=address, timeout=60) as client:
        first_event(client, "4")
        sizes, seconds = [memory(process)], []
        for number in range(1, POSITIONS + 1):
            seconds.append(first_event(client, random_moves(rng)))
            if number % (POSITIONS // 4) == 0:
                sizes.append(memory(process))
    listed = ", ".join(f"{size / 2**20:.0f}" for size in sizes)
    print(
        f"positions: {POSITIONS}, memory at the start and after each quarter {listed} MiB; "
        f"first report after {1000 * statistics.median(seconds):.0f} ms (median), "
        f"{1000 * max(seconds):.0f} ms (longest)"
    )


def print_pages() -> None:
    """Pages that analyse at once: to the first report of each; then all are closed."""
    rng = np.random.default_rng(1)
    with server() as (address, process):
        seconds = asyncio.run(all_at_once(address, [random_moves(rng) for _ in range(PAGES)]))
        process.cpu_percent()
        time.sleep(2.0)
        busy = process.cpu_percent()
    print(
        f"pages: {PAGES} at once, first report after {min(seconds):.2f} to {max(seconds):.2f} s; "
        f"2 s after all have left the server uses {busy:.0f} % of a core"
    )


async def all_at_once(address: str, lines: list[str]) -> list[float]:
    """Seconds to the first report of an analysis of each line; they go on until all have one."""
    reported, everyone = [], asyncio.Event()

    async def analyse(client: httpx.AsyncClient, moves: str) -> None:
        query = {"game": "connect_four", "player": BUNDLED, "moves": moves}
        began = time.monotonic()
        async with client.stream("GET", "/api/analyse", params=query) as answer:
            async for _ in answer.aiter_lines():
                break
            reported.append(time.monotonic() - began)
            if len(reported) == len(lines):
                everyone.set()
            await everyone.wait()

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        await asyncio.gather(*(analyse(client, moves) for moves in lines))
    return reported


async def send(
    client: httpx.AsyncClient, method: str, path: str, headers: dict
) -> tuple[int, float]:
    """The status of an answer that is read to its end, and seconds; 0 where there was none."""
    began = time.monotonic()
    try:
        request = client.build_request(method, path, headers=headers)
        status = (await asyncio.wait_for(client.send(request), SLOW_SECONDS)).status_code
    except TimeoutError:
        status = 0
    except (httpx.HTTPError, httpx.InvalidURL):
        status = -1  # httpx itself refuses to send it, or the server has closed the connection
    return status, time.monotonic() - began


async def attack(address: str, number: int, queries: dict) -> tuple[Counter, float]:
    """How often each status came, and the longest answer in seconds."""
    rng, statuses, longest = random.Random(0), Counter(), 0.0
    limits = httpx.Limits(max_connections=TOGETHER)
    async with httpx.AsyncClient(base_url=address, timeout=SLOW_SECONDS, limits=limits) as client:
        for first in range(0, number, TOGETHER):
            count = min(TOGETHER, number - first)
            sent = [send(client, *hostile_requests.changed(queries, rng)) for _ in range(count)]
            for status, seconds in await asyncio.gather(*sent):
                statuses[status] += 1
                longest = max(longest, seconds)
    return statuses, longest


def print_hostile(number: int) -> None:
    """Thousands of requests that a page would not send."""
    with tempfile.TemporaryDirectory() as name:
        hostile_requests.write_folder(Path(name))
        with server(name) as (address, process):
            _print_attack(address, process, number)


def _print_attack(address: str, process: psutil.Process, number: int) -> None:
    with httpx.Client(base_url=address, timeout=60) as client:
        queries = hostile_requests.valid_queries(client)
    before = memory(process)
    statuses, longest = asyncio.run(attack(address, number, queries))
    grown = (memory(process) - before) / 2**20
    still = httpx.get(f"{address}/api/start").status_code
    failed = sum(count for status, count in statuses.items() if status >= 500 and status != 503)
    print(
        f"hostile: {number} requests, answers {dict(sorted(statuses.items()))}; failed in the "
        f"server {failed}, hung {statuses[0]}, longest {longest:.1f} s, "
        f"memory {grown:+.0f} MiB, then /api/start {still}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = ("sizes", "paint", "positions", "pages", "hostile")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(every)}")
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    for part in options.parts or every:
        if part == "hostile":
            print_hostile(options.requests)
        else:
            globals()[f"print_{part}"]()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
