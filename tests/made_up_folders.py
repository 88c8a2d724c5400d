"""Runs, agents and models as someone might craft them to run code, hang, or fill memory.

``CRAFTED`` has the ways by name. Each is a function ``(run, rng)``, called with a whole run's
folder, which it changes; most write the manifest anew afterwards, as a forger would.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
import yaml

from alphazero import sealed

Craft = Callable[[Path, np.random.Generator], object]
STEP = "checkpoints/step_000002"
TRAP = "stranger.trap:Class"
"""An address; its module writes the file ``ran`` beside itself when it is imported."""
TRAP_CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Class: pass\n"


def set_trap(run: Path) -> None:
    (run / "trap.py").write_text(TRAP_CODE)


def ran(run: Path) -> bool:
    """Whether code of the folder was executed."""
    return (run / "ran").exists()


def seal(folder: Path, **changes: object) -> None:
    """Write the manifest of a changed folder anew, with ``changes`` of its fields."""
    fields = json.loads((folder / sealed.MANIFEST).read_bytes()) | changes
    names = [path.name for path in folder.iterdir() if path.name != sealed.MANIFEST]
    for own in ("files", "sha256", "format"):
        fields.pop(own, None)
    sealed.write(folder, {name: (folder / name).read_bytes() for name in names}, fields)


def text(content: str | bytes, name: str = "config.yaml") -> Craft:
    """Another content of a file."""

    def craft(run: Path, _: np.random.Generator) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (run / STEP / name).write_bytes(data)
        seal(run / STEP)

    return craft


def setting(key: str, value: object) -> Craft:
    """Another value of one setting."""

    def craft(run: Path, _: np.random.Generator) -> None:
        path = run / STEP / "config.yaml"
        tree = yaml.safe_load(path.read_text())
        *parts, leaf = key.split(".")
        section = tree
        for part in parts:
            section = section[part]
        section[leaf] = value
        path.write_text(yaml.safe_dump(tree))
        seal(run / STEP)

    return craft


def wrong_type(run: Path, rng: np.random.Generator) -> None:
    """Some setting has a value of a wrong type or size."""
    tree = yaml.safe_load((run / STEP / "config.yaml").read_text())
    keys = [(section, key) for section in tree if isinstance(tree[section], dict)
            for key in tree[section]]  # fmt: skip
    section, key = keys[rng.integers(len(keys))]
    values = [None, [], {}, "x", -1, 0, 10**30, 1e308, True, [[]], {"kind": TRAP}, TRAP, "a" * 9999]
    setting(f"{section}.{key}", values[rng.integers(len(values))])(run, rng)


def flipped(name: str, resealed: bool) -> Craft:
    """Some bytes of a file are others."""

    def craft(run: Path, rng: np.random.Generator) -> None:
        path = run / STEP / name
        data = bytearray(path.read_bytes())
        first = min(len(data), 4000)  # where the structure is
        for place in rng.integers(first if rng.random() < 0.7 else len(data), size=3):
            data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        if resealed:
            seal(run / STEP)

    return craft


def cut(name: str) -> Craft:
    def craft(run: Path, rng: np.random.Generator) -> None:
        path = run / STEP / name
        data = path.read_bytes()
        path.write_bytes(data[: rng.integers(len(data))])
        seal(run / STEP)

    return craft


def weights(change: Callable[[dict[str, np.ndarray]], object]) -> Craft:
    def craft(run: Path, _: np.random.Generator) -> None:
        path = run / STEP / "weights.safetensors"
        arrays = safetensors.numpy.load_file(path)
        change(arrays)
        path.write_bytes(safetensors.numpy.save(arrays))
        seal(run / STEP)

    return craft


def header(value: object, rest: int = 8, length: int | None = None) -> Craft:
    """A safetensors file with this header as JSON, and ``rest`` bytes behind it."""
    given = value if isinstance(value, bytes) else json.dumps(value).encode()
    size = len(given) if length is None else length
    return text(size.to_bytes(8, "little") + given + bytes(rest), "weights.safetensors")


def state(change: Callable[[dict], object]) -> Craft:
    """Another training state."""

    def craft(run: Path, _: np.random.Generator) -> None:
        path = run / STEP / "training.pt"
        tree = torch.load(path, weights_only=False)
        buffer = io.BytesIO()
        torch.save(change(tree) or tree, buffer)
        path.write_bytes(buffer.getvalue())
        seal(run / STEP)

    return craft


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, numbers: bytes = b"") -> Craft:
    """A training state with this pickle in its archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        parts = {"data.pkl": pickled, "byteorder": b"little", "version": b"3", "data/0": numbers}
        for name, data in parts.items():
            file.writestr(f"archive/{name}", data)
    return text(buffer.getvalue(), "training.pt")


class _Call:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def manifest(change: Callable[[dict], object]) -> Craft:
    """Other fields of the manifest, whose own hash is right."""

    def craft(run: Path, _: np.random.Generator) -> None:
        path = run / STEP / sealed.MANIFEST
        fields = json.loads(path.read_bytes())
        fields.pop("sha256")
        path.write_bytes(sealed._dump_manifest(change(fields) or fields))

    return craft


def raw_manifest(data: bytes) -> Craft:
    return lambda run, _: (run / STEP / sealed.MANIFEST).write_bytes(data)


def link(place: str, target: str) -> Craft:
    """A link instead of a file or a folder of the run."""

    def craft(run: Path, _: np.random.Generator) -> None:
        path = run / place
        if path.exists():
            path.rename(path.with_name(f"moved-{path.name}"))
        path.symlink_to(target)

    return craft


def fifo(place: str) -> Craft:
    def craft(run: Path, _: np.random.Generator) -> None:
        (run / place).unlink(missing_ok=True)
        os.mkfifo(run / place)

    return craft


def folder(place: str) -> Craft:
    def craft(run: Path, _: np.random.Generator) -> None:
        (run / place).unlink(missing_ok=True)
        (run / place).mkdir()

    return craft


def sparse(name: str, size: int, listed: bool) -> Craft:
    """A file that takes no room on the disk; ``listed`` with its size, and without its hash."""

    def craft(run: Path, rng: np.random.Generator) -> None:
        os.truncate(run / STEP / name, size)
        if listed:
            manifest(lambda fields: fields["files"][name].update(bytes=size))(run, rng)

    return craft


def _put(key: str, value: object) -> Callable[[dict], None]:
    """A change of a tree at a dotted key; ``value`` may be a function of the old value."""

    def change(tree: dict) -> None:
        *parts, leaf = key.split(".")
        section = tree
        for part in parts:
            section = section[int(part) if part.isdigit() else part]
        place = int(leaf) if leaf.isdigit() else leaf
        section[place] = value(section[place]) if callable(value) else value

    return change


def _without(key: str) -> Callable[[dict], object]:
    return lambda tree: tree.pop(key) and None


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS = {
    "empty": "", "a list": "- 1\n", "a number": "7", "no UTF-8": b"game: \xff\xfe",
    "NUL": "game: \0",
    "nested lists": "[" * 3000, "nested maps": "{a: " * 2000, "alias bomb": _BOMB,
    "a cycle": "game: &a [*a]\n", "a merge": "a: &a {game: x}\nb:\n  <<: *a\n",
    "a timestamp": "game: !!timestamp x\n", "an int": "seed: !!int ''\n",
    "a bool": "seed: !!bool x\n",
    "a call": "game: !!python/object/apply:os.system ['touch ran']\n",
    "a name": f"game: !!python/name:{TRAP.replace(':', '.')}\n", "twice": "game: a\ngame: b\n",
    "1.5 MiB": "game: tic_tac_toe\n" + "#" * 1_500_000, "a long key": "k" * 10**5 + ": 1\n",
    "escapes": 'game: "\\e[2J\\e]0;owned\\a"\n', "a huge number": "seed: " + "9" * 6000,
    "lines": 'game: "tic\\ntac\\ntoe"\n', "octal": "seed: 0o8\n", "an unknown key": "shell: rm\n",
}  # fmt: skip
ADDRESSES = {
    "game": TRAP, "game ": f"{TRAP}:size=3", "game  ": "stranger.trap:a:b=1",
    "game   ": "os:system",
    "search": {"kind": TRAP}, "search ": {"kind": "subprocess:Popen", "args": ["touch", "ran"]},
    "search  ": {"kind": "os:system", "command": "touch ran"},
    "network": {"kind": TRAP}, "network ": {"kind": "builtins:exec", "source": "1"},
    "network.encoder": TRAP, "network.encoder ": "os:getcwd", "network.encoder  ": "../trap",
    "network.encoder   ": "a b:c", "search   ": {"kind": "\x1b[2J:x"},
}  # fmt: skip
ABSURD = {
    "network.channels": 10**6, "network.blocks": 10**6, "network.blocks ": 900,
    "network.channels ": 4096, "network.value_hidden": 10**9, "network.value_hidden ": 4096,
    "network.policy_channels": 4000, "network.value_channels": 10**12,
    "network.heads": {"score": 1.0},
    "network.heads ": {"ownership": 1.0}, "network.heads  ": {"x": 1.0},
    "search.simulations": 10**12, "search.simulations ": 10**6, "selfplay.games": 10**9,
    "ray": "evil.example:6379", "game": "connect_four", "game ": "othello:size=1000000",
    "game  ": "tic_tac_toe:size=3", "game   ": "x" * 10**5, "training.initial_weights": "/dev/zero",
    "evaluation.opponent": "checkpoint:path=/dev/zero", "network.value_head": "scalar",
    "network.attention": "squeeze_excitation",
    "network": {"kind": "perceptron", "width": 8192, "layers": 2},
    "network ": {"kind": "perceptron", "width": 8192, "layers": 256},
    "network  ": {"kind": "perceptron", "heads": {"x": 1.0}},
}  # fmt: skip
HEADERS = {
    "nested": b"[" * 10**5, "a list": [], "null": None, "no JSON": b"{", "no offsets": {"a": {}},
    "negative": {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
    "huge": {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}},
    "overlapping": {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"},
    "wrong type": {"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}},
    "texts": {"a": {"dtype": "F32", "shape": ["2"], "data_offsets": ["0", "8"]}},
    "a number": {"a": 3}, "many": {str(n): {} for n in range(10**4)},
    "escapes": {"\x1b[2J": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
}  # fmt: skip
_F = b"ctorch\nFloatStorage\n"
PICKLES = {
    "a call": pickle.dumps(_Call(os.system, "touch ran"), 2),
    "an eval": pickle.dumps(_Call(eval, "open('ran', 'w')"), 2),
    "a name": b"cstranger.trap\nClass\n.", "bytes": pickle.dumps(_Call(bytearray, 10**10), 2),
    "a memo": b"\x80\x02}r\xf0\xff\xff\xff.", "cut": b"\x80\x02}q", "empty": b"", "text": b"hello",
    "nested": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    "no storage": b"\x80\x02(X\x07\x00\x00\x00storage" + _F
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    b"J\xff\xff\xff\x7ftQ.",
    "a number": b"\x80\x02K\x01.", "an array": pickle.dumps(np.empty(3), 2)[:-40] + b".",
}  # fmt: skip
STATES: dict[str, Callable[[dict], object]] = {
    **{f"no {key}": _without(key) for key in ("learner", "replay", "fleet", "seconds")},
    **{f"{key} is text": _put(key, "x") for key in ("learner", "replay", "fleet", "seconds")},
    **{f"{key} is null": _put(key, None) for key in ("learner.step", "learner.network")},
    "a list": lambda tree: [1], "seconds are NaN": _put("seconds", float("nan")),
    "step -1": _put("learner.step", -1),
    "step 1e400": _put("learner.step", 10**400), "step 1e3": _put("learner.step", 1e3),
    "precision": _put("learner.precision", "int8"), "no moments": _put("learner.optimizer", {}),
    "another network": _put("learner.network", {"x": torch.zeros(3)}),
    "another average": _put("learner.average", lambda old: {k: v[None] for k, v in old.items()}),
    "wide": _put("learner.network", lambda old: {k: torch.zeros(99) for k in old}),
    "moments": _put("learner.optimizer.state", {0: {"exp_avg": torch.zeros(10**6)}}),
    "moments 7": _put("learner.optimizer.state", {7: {"exp_avg": torch.zeros(1)}}),
    "offset": _put("replay.offset", -5), "shard": _put("replay.shard", "../x"),
    "seats": _put("fleet.seats", [1, 2]), "no seats": _put("fleet.seats", []),
    "inference": _put("fleet.inference", ["x", "y", "z"]),
    "rngs": _put("fleet.seats.0.group.rngs", [{}]),
    "started": _put("fleet.seats.0.group.started", 10**15),
    "plies": _put("fleet.seats.0.group.arrays._plies", lambda old: b"\xff" * len(old)),
    "current": _put("fleet.seats.0.group.arrays._current", lambda old: b"\xff" * len(old)),
    "actions": _put("fleet.seats.0.group.arrays._actions", lambda old: b"\x01" * len(old)),
    "rows": _put("fleet.seats.0.group.arrays._rows", lambda old: b"\x7f" * len(old)),
    "losses": _put("learner.losses.recent", [["x"]]),
    "losses huge": _put("learner.losses.recent", [10**400]),
    "high": _put("learner.losses.high", 10**9), "jump": _put("learner.losses.jump", "x"),
    "jump huge": _put("learner.losses.jump", 10**400),
    "moments empty": _put("learner.optimizer.state", {}),
    "moments lost": _put("learner.optimizer.state.0", {}),
    "moments small": _put("learner.optimizer.state.0.exp_avg", torch.zeros(())),
    "moments text": _put("learner.optimizer.state.0.exp_avg", "x"),
    "moments unknown": _put("learner.optimizer.state.0.more", torch.zeros(())),
    "frames": _put("fleet.seats.0.played", [b"x"]), "weights": _put("fleet.weights", {}),
}  # fmt: skip
MANIFESTS: dict[str, Callable[[dict], object]] = {
    **{f"no {key}": _without(key) for key in ("format", "files", "step", "game")},
    "format 9": _put("format", 9), "step -1": _put("step", -1), "step 1.5": _put("step", 1.5),
    "step true": _put("step", True), "step text": _put("step", "x"),
    "step 1e400": _put("step", 10**400),
    "files a list": _put("files", []), "no files": _put("files", {}),
    "no weights": lambda fields: fields["files"].pop("weights.safetensors") and None,
    "no config": lambda fields: fields["files"].pop("config.yaml") and None,
    "no state": lambda fields: fields["files"].pop("training.pt") and None,
    "outside": lambda fields: fields["files"].update({"../../config.yaml": {"bytes": 1,
    "sha256": ""}}),
    "absolute": lambda fields: fields["files"].update({"/dev/zero": {"bytes": 1, "sha256": ""}}),
    "parent": lambda fields: fields["files"].update({"..": {"bytes": 1, "sha256": ""}}),
    "many": lambda fields: fields["files"].update({str(n): {"bytes": 0,
    "sha256": ""} for n in range(999)}),
    "bytes": lambda fields: fields["files"]["config.yaml"].update(bytes=2**63),
    "bytes text": lambda fields: fields["files"]["config.yaml"].update(bytes="x"),
    "bytes -1": lambda fields: fields["files"]["config.yaml"].update(bytes=-1),
    "hash null": lambda fields: fields["files"]["config.yaml"].update(sha256=None),
    "supervised": _put("supervised", "\x1b[2J"), "training": _put("training", {"steps": [],
    "x": {}}),
}  # fmt: skip
FILES = ("config.yaml", "weights.safetensors", "training.pt", "MANIFEST.json")
IN_RUN = (
    "log.txt",
    "config.yaml",
    "metrics.jsonl",
    "environment.json",
    "wandb_id",
    ".lock",
    "games/x.shard",
)
CRAFTED: dict[str, Craft] = {
    **{f"config.yaml: {name}": text(content) for name, content in TEXTS.items()},
    **{f"{key}={str(value)[:40]!r}": setting(key.strip(), value)
       for group in (ADDRESSES, ABSURD) for key, value in group.items()},
    **{f"some setting {number}": wrong_type for number in range(30)},
    **{f"header: {name}": header(value) for name, value in HEADERS.items()},
    "header: length": header({}, length=2**60), "header: no arrays": header({}, rest=0),
    **{f"{name} flipped {number}": flipped(name, resealed=name != "MANIFEST.json")
       for name in FILES for number in range(6)},
    **{f"{name} cut": cut(name) for name in FILES[:3]},
    **{f"{name} empty": text(b"", name) for name in FILES[1:3]},
    "weights: none": weights(dict.clear),
    "weights: NaN": weights(lambda arrays: arrays["policy.0.weight"].fill(np.nan)),
    "weights: more": weights(lambda arrays: arrays.update(more=np.zeros(10))),
    "weights: a head": weights(lambda arrays: arrays.update({"heads.x": np.zeros((5000, 5000))})),
    "weights: integers": weights(lambda arrays: arrays.update(
        {name: array.astype(np.int64) for name, array in arrays.items()})),
    "weights: one column more": weights(lambda arrays: arrays.update(
        {name: np.append(array, 0) for name, array in arrays.items()})),
    **{f"training.pt: {name}": archive(data) for name, data in PICKLES.items()},
    **{f"training.pt, no archive: {name}": text(data,
    "training.pt") for name, data in PICKLES.items()},
    "training.pt: deflated": archive(pickle.dumps({}), zipfile.ZIP_DEFLATED, bytes(2 * 10**8)),
    **{f"state: {name}": state(change) for name, change in STATES.items()},
    **{f"manifest: {name}": manifest(change) for name, change in MANIFESTS.items()},
    "manifest: nested": raw_manifest(b"[" * 10**5), "manifest: 2 MiB": raw_manifest(b" " * 2**21),
    "manifest: empty": raw_manifest(b""), "manifest: a list": raw_manifest(b"[]"),
    "manifest: digits": raw_manifest(b'{"step": ' + b"9" * 10**5 + b"}"),
    **{f"{name} is a FIFO": fifo(f"{STEP}/{name}") for name in FILES},
    **{f"{name} is a folder": folder(f"{STEP}/{name}") for name in FILES},
    **{f"{name} is a link": link(f"{STEP}/{name}", f"moved-{name}") for name in FILES},
    **{f"{name} is a device": link(f"{STEP}/{name}", "/dev/zero") for name in FILES},
    **{f"{name} is sparse{', listed' if listed else ''}": sparse(name, 2**33, listed)
       for name in FILES[:3] for listed in (False, True)},
    "the checkpoint is a link": link(STEP, "moved-step_000002"),
    **{f"run: {name} is a FIFO": fifo(name) for name in IN_RUN},
    **{f"run: {name} is a link": link(name, "/tmp/made-up-target") for name in IN_RUN},
    **{f"run: {name} is a link": link(name, f"moved-{name}") for name in ("games",)},
}  # fmt: skip
