"""Reads thousands of mutated configurations and reports what a reader of them must never do.

    python tests/benchmarks/mutated_configurations.py --cases 5000 --commands 100 --seed 0

Every case is one of the files in configs/ with a few mutations, or hostile text, with mutated
overrides. In one process each is read with time and memory measured; some are read by the real
command, too. Printed are tracebacks (any error but ConfigError), messages that are long or of many
lines, cases that take more than 2 seconds, and cases that grow the process by more than 100 MB.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alphazero import config
from alphazero.config_file import MOST_ERRORS, ConfigError, paths
from alphazero.config_folder import names
from alphazero.supervised import config as supervised

SLOW, GROWN = 2.0, 100.0
"""Seconds and megabytes that a case may take."""
LONGEST = 1000
"""Characters of a message's line, with place and key."""
KINDS = (config, supervised)

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = (
    BOMB, "[" * 3000, "{a: " * 3000, "- " * 3000, "? " * 3000, "&a [*a]", "game: &g [*g]",
    "&a {game: *a}", "game: !!timestamp x", "seed: !!int ''", "seed: !!bool x", "seed: !!float x",
    "game: !!python/object/apply:os.system ['true']", "game: !!binary x", "<<: 5", "<<: [*a]",
    "=: 5", "? [a, b]\n: 5", "? {a: b}\n: 5", "seed: 0b_", "seed: 0x_", 'seed: "\\UFFFFFFFF"',
    'seed: "\\ud800"', 'game: "\\0"', "\0", "\x1b[2J: 1", "a: 1\n" * 20_000, "#" * 250_000,
    "x" * 250_000, '"' + "x" * 250_000, "seed: " + "9" * 100_000, "seed: 0x" + "f" * 99,
    "seed: 1" + "e9" * 40, "\ufeffgame: tic_tac_toe", "---\n---\n", "%TAG ! x\n" * 999, "%YAML 9.9",
    "x" * 300_000, "a: |\n" + " x\n" * 60_000, "\t", ": " * 9999, "," * 9999, "[" + "a," * 90_000,
    "".join(f"key{i}: {i}\n" for i in range(4000)), "".join(f"{' ' * i}a:\n" for i in range(700)),
    "game: tic_tac_toe\nnetwork: {" + ", ".join(f"k{i}: {i}" for i in range(4000)) + "}",
)  # fmt: skip
VALUES = (
    "", "~", "null", "true", "-1", "0", "1", "3", "1e999", "-1e999", ".nan", ".inf", "1e-320",
    "1e30", "9" * 30, "9" * 5000, "1_0_0", "0x10", "0o17", "010", "1:30", "2020-01-01", "off",
    "[]", "{}", "[1]", "[[[[1]]]]", "{a: 1}", "{kind: puct}", "{kind: [1]}", "{1: 2}", "{~: 1}",
    "{kind: a:b}", "{kind: os:path}", "{kind: ':'}", "*x", "&x 1", "!!int ''", "! 5", "!x 5",
    "[" * 50, "{a: " * 50, "'", '"', "a: b", "a: b: c", "- 1", "|", ">", "%", "@", "`", "\t",
    "x" * 10_000, "\U0001f600", "\u202e", "\x85", "'\x1b[31m'", "tic_tac_toe", "othello:size=7",
    "othello:8", "os:system", "a:b:c=d", ":", "random", "mcts:simulations=0", "checkpoint:path=",
    "~/nowhere", "~no_such_user/x", "/dev/zero", "../..", "2GB", "2QB", "1e9GB", "auto", "cuda:x",
    "{heads: {x: 1}}", "{reply: -1}", "{reply: x}", "10000000000", "puct", "gumbel", "residual",
)  # fmt: skip


class Case(NamedTuple):
    """One configuration to read: an index of ``KINDS``, a file's bytes, and overrides."""

    kind: int
    text: bytes
    overrides: tuple[str, ...]


def cases(seed: int) -> Iterator[Case]:
    """Cases without end: hostile texts first, then mutated files."""
    rng = random.Random(seed)
    files = [
        (kind, (module.FOLDER / f"{name}.yaml").read_bytes())
        for kind, module in enumerate(KINDS)
        for name in names(module.FOLDER)
    ]
    keys = [paths(config.Config), paths(supervised.SupervisedConfig)]
    for number, text in enumerate(HOSTILE):
        yield Case(number % 2, text.encode("utf-8", "surrogatepass"), ())
    while True:
        kind, text = rng.choice(files)
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            text = rng.choice(MUTATIONS)(rng, text)
        count = rng.choice((0, 0, 1, 2, 3, 30))
        yield Case(kind, text, tuple(_override(rng, keys[kind]) for _ in range(count)))


def _override(rng: random.Random, keys: tuple[str, ...]) -> str:
    key = rng.choice((rng.choice(keys), rng.choice(keys), _word(rng), "", "a." * 3000 + "b"))
    if rng.random() < 0.2:
        key = _typing_error(rng, key)
    return f"{key}{rng.choice(('=', '=', '=', '=', '', ':', '=='))}{rng.choice(VALUES)}"


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("abcxyz._-[]{}:\x1b\u202e é", k=rng.randrange(1, 30)))


def _typing_error(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word) + 1)
    return word[:place] + rng.choice(("", "x", ".", "=", " ")) + word[place + 1 :]


def _change_bytes(rng: random.Random, text: bytes) -> bytes:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.randbytes(rng.randrange(1, 4)) + text[place + rng.randrange(3) :]


def _insert_sign(rng: random.Random, text: bytes) -> bytes:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(b"&*!|>%@`'\"[]{},:?-#\t\n\0 ").to_bytes() + text[place:]


def _change_value(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    place = rng.randrange(len(lines))
    key, colon, _ = lines[place].partition(b":")
    lines[place] = key + colon + b" " + rng.choice(VALUES).encode("utf-8", "replace")
    return b"\n".join(lines)


def _move_line(rng: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    line = rng.choice(lines)
    lines.insert(rng.randrange(len(lines)), b" " * rng.randrange(4) + line)
    return b"\n".join(lines)


def _insert_hostile(rng: random.Random, text: bytes) -> bytes:
    hostile = rng.choice(HOSTILE).encode("utf-8", "surrogatepass")
    return rng.choice((text + b"\n" + hostile, hostile + b"\n" + text))


def _cut(rng: random.Random, text: bytes) -> bytes:
    return text[: rng.randrange(len(text) + 1)]


MUTATIONS = (
    _change_bytes, _insert_sign, _change_value, _change_value, _change_value, _move_line,
    _insert_hostile, _cut,
)  # fmt: skip


def read(case: Case, path: Path) -> tuple[str, str]:
    """The end of reading a case, ``valid``, ``refused`` or ``fault``, and the message."""
    path.write_bytes(case.text)
    try:
        KINDS[case.kind].load(str(path), case.overrides)
    except ConfigError as error:
        return _judged(str(error))
    except (Exception, SystemExit) as error:  # every other error is what is looked for
        return "fault", f"{type(error).__name__}: {error}"[:200]
    return "valid", ""


def _judged(message: str) -> tuple[str, str]:
    lines = message.split("\n")
    if not message or len(lines) > MOST_ERRORS + 1 or max(map(len, lines)) > LONGEST:
        return "fault", f"{len(lines)} lines, {max(map(len, lines))} characters: {lines[0][:100]}"
    return "refused", message


def _command(case: Case, path: Path) -> str:
    """The reason for which the end of the real command is wrong, or an empty text.

    The last override is never valid, so that nothing is trained.
    """
    path.write_bytes(case.text)
    words = [word for word in case.overrides if "\0" not in word and not word.startswith("-")]
    action = ["train"] if case.kind == 0 else ["supervised", "train"]
    command = [sys.executable, "-m", "alphazero", *action, str(path), *words, "seed=-1"]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    if ended.returncode != 2 or "Traceback" in ended.stderr or len(ended.stderr) > 30_000:
        return f"exit {ended.returncode}: {ended.stderr[-300:]}"
    return ""


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--commands", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ends: Counter[str] = Counter()
    slowest, largest, start = 0.0, 0.0, _megabytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.yaml"
        stream = cases(options.seed)
        for number in range(options.cases):
            case, size, began = next(stream), _megabytes(), time.process_time()
            end, message = read(case, path)
            took, grew = time.process_time() - began, _megabytes() - size
            slowest, largest = max(slowest, took), max(largest, grew)
            ends[end] += 1
            if end == "fault" or took > SLOW or grew > GROWN:
                print(f"case {number}: {took:.1f} s, {grew:.0f} MB, {message}\n  {case.overrides}")
        for number in range(options.commands):
            if problem := _command(next(stream), path):
                ends["faults of the command"] += 1
                print(f"command {number}: {problem}")
    print(
        f"{dict(ends)}, {options.commands} commands; slowest case {slowest:.2f} s, largest growth "
        f"{largest:.0f} MB, of all {_megabytes() - start:.0f} MB"
    )
    return 1 if set(ends) - {"valid", "refused"} or slowest > SLOW or largest > GROWN else 0


if __name__ == "__main__":
    sys.exit(main())
