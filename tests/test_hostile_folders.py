"""Folders from strangers: no code of theirs runs, nothing hangs, errors are one line each."""

import json
import os
import shutil
import sys
from pathlib import Path

import made_up_folders as crafts
import numpy as np
import pytest

import alphazero
import games
from alphazero import (
    addresses,
    checkpoint,
    errors,
    network,
    plain_files,
    ranges,
    resuming,
    sealed,
)
from alphazero.judging import agent, players, session
from alphazero.nn import weights
from alphazero.supervised import config as supervised_config
from alphazero.supervised import model
from workers import cli
from workers.runs import export
from workers.runs import train as train_command
from workers.serve import loading
from workers.serve.limits import Limits

SETTINGS = [
    "search.simulations=4", "selfplay.games=8", "network.blocks=1", "network.channels=8",
    "replay.min_positions=50", "training.steps=2", "training.batch_size=16",
    "training.precision=float32", "inference.backend=torch", "inference.precision=float32",
    "training.time_limit_minutes=null",
]  # fmt: skip
OWN_GAME = """\
from pathlib import Path
from games.tic_tac_toe import TicTacToe
Path(__file__).with_name("ran").touch()
class Mine(TicTacToe):
    def __init__(self, size: int = 3):
        super().__init__()
        self.name = f"stranger.own:Mine:size={size}"
"""


@pytest.fixture(scope="module")
def settings():
    return alphazero.load_config("tic_tac_toe", SETTINGS)


@pytest.fixture(scope="module")
def original(settings, tmp_path_factory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "original"
    alphazero.train(settings, folder)
    return folder


@pytest.fixture
def stranger(original, tmp_path, monkeypatch) -> Path:
    """A copy of the run in the current folder, from which Python can import; with a trap."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copytree(original, "stranger")
    crafts.set_trap(Path("stranger"))
    yield Path("stranger")
    for name in [name for name in sys.modules if name.partition(".")[0] == "stranger"]:
        del sys.modules[name]


def craft(run: Path, name: str) -> None:
    crafts.CRAFTED[name](run, np.random.default_rng([*name.encode()]))


def refusal(call) -> str:
    """The message with which ``call`` refuses; "" where it does not."""
    try:
        call()
    except ValueError as error:
        text = str(error)
        assert text.isprintable(), text
        assert len(text) < 1500
        return text
    return ""


LATE = ["game   ='" + "x" * 40 + "'", "config.yaml: lines", "weights: NaN"]
"""Ways that once led to several lines or long ones."""
OTHERS = ("some setting", "run:", "config.yaml: alias bomb")
QUICK = LATE + sorted(name for name in crafts.CRAFTED if not name.startswith(OTHERS))[::6]


@pytest.mark.parametrize("name", QUICK)
def test_a_crafted_folder_is_used_or_refused_in_one_line_and_runs_no_code(name, stranger):
    craft(stranger, name)
    step = stranger / crafts.STEP
    for call in (
        lambda: alphazero.load_agent(stranger),
        lambda: agent.load(step, games.make("tic_tac_toe"), simulations=4),
        lambda: checkpoint.load_state(step),
        lambda: export.export(step, Path("exported")),
    ):
        refusal(call)
    assert not crafts.ran(stranger)
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", [name for name in crafts.ADDRESSES if not name.startswith("game")])
def test_what_a_folder_names_is_imported_only_if_the_same_text_was_allowed(name, stranger):
    crafts.setting(name.strip(), crafts.ADDRESSES[name])(stranger, np.random.default_rng(0))
    step, game = stranger / crafts.STEP, games.make("tic_tac_toe")
    for call in (
        lambda: alphazero.load_agent(step),
        lambda: agent.load(step, game),
        lambda: players.make(f"policy:path={step}", game),
        lambda: loading.load(str(step), Limits()),
        lambda: alphazero.load_agent(step, allow=["stranger.trap:Other", "stranger.trap"]),
    ):
        assert str(step) in refusal(call)
    assert not crafts.ran(stranger)


def test_an_allowed_address_is_imported(stranger):
    crafts.setting("search", {"kind": crafts.TRAP})(stranger, np.random.default_rng(0))
    step = stranger / crafts.STEP
    wanted = rf"search.kind {crafts.TRAP}: .*--allow {crafts.TRAP} \(in Python allow="
    with pytest.raises(ValueError, match=wanted):
        alphazero.load_agent(step)
    assert not crafts.ran(stranger)
    assert "no attribute" in refusal(lambda: alphazero.load_agent(step, allow=[crafts.TRAP]))
    assert crafts.ran(stranger)


def test_a_search_that_is_replaced_is_not_imported(stranger):
    crafts.setting("search", {"kind": crafts.TRAP})(stranger, np.random.default_rng(0))
    spec = f"checkpoint:path={stranger / crafts.STEP},search=puct,simulations=4"
    assert players.make(spec, games.make("tic_tac_toe")).simulations == 4
    assert not crafts.ran(stranger)


@pytest.mark.parametrize(
    "spec",
    [
        crafts.TRAP,
        f"{crafts.TRAP}:size=3",
        "os:system",
        "pettingzoo:stranger.trap",
        "pettingzoo:environment=stranger.trap(size=3),max_plies=9",
        "games.pettingzoo_game:PettingZooEnvironment:stranger.trap",
        "gymnasium:stranger.trap:Mine-v0",
        "gymnasium:environment=stranger.trap:Mine-v0",
    ],
)
def test_a_game_that_was_not_typed_is_refused_without_an_import(spec, stranger, capsys):
    crafts.setting("game", spec)(stranger, np.random.default_rng(0))
    step = stranger / crafts.STEP
    player = f"policy:path={step}"
    for words in (
        ["play", "tic_tac_toe", "--player", player],
        ["arena", player, "random", "--game", "tic_tac_toe"],
        ["evaluate", "tic_tac_toe", "--positions", "all", "--player", player],
    ):
        assert cli.main(words) == 2
        assert f"plays {spec}, not tic_tac_toe" in capsys.readouterr().err
    for call in (
        lambda: alphazero.load_agent(step),
        lambda: loading.load(str(step), Limits()),
        lambda: session.load({"game": spec, "moves": [], "seats": ["a", "b"], "resigned": None,
                              "clock": None}),
    ):  # fmt: skip
        assert str(games.address_of(spec)) in refusal(call)
        assert "--allow" in refusal(call)
    assert not crafts.ran(stranger)


@pytest.mark.parametrize("has_komi", [False, True])
@pytest.mark.parametrize("module", ["stranger.trap", "pettingzoo.classic.connect_four_v3"])
def test_an_agent_of_another_environment_is_refused_where_another_komi_would_do(
    module, has_komi, stranger
):
    crafts.setting("game", f"pettingzoo:{module}")(stranger, np.random.default_rng(0))
    game = games.make("pettingzoo:pettingzoo.classic.tictactoe_v3")
    if has_komi:
        game.komi = 7.0
    step = stranger / crafts.STEP
    for player in (f"policy:path={step}", f"checkpoint:path={step},simulations=4"):
        refused = refusal(lambda text=player: players.make(text, game, fitting=True))
        assert f"plays pettingzoo:{module}, not {game.name}" in refused
    assert not crafts.ran(stranger)


def test_a_game_of_ones_own_is_played_where_it_is_typed_or_allowed(stranger):
    (stranger / "own.py").write_text(OWN_GAME)
    crafts.setting("game", "stranger.own:Mine")(stranger, np.random.default_rng(0))
    step, address = stranger / crafts.STEP, "stranger.own:Mine"
    assert "--allow stranger.own:Mine" in refusal(lambda: alphazero.load_agent(step))
    assert not crafts.ran(stranger)
    assert alphazero.load_agent(step, allow=[address]).game.name == "stranger.own:Mine:size=3"
    game = games.make(address)
    assert alphazero.load_agent(step, game).game is game
    assert "plays" in refusal(lambda: alphazero.load_agent(step, games.make(f"{address}:size=4")))
    served = loading.load(str(step), Limits(), loading.Allowed(address))
    assert served.model["game"] == "stranger.own:Mine:size=3"
    saved = {"game": address, "moves": [1], "seats": ["a", "b"], "resigned": None, "clock": None}
    assert session.load(saved, allow=[address]).actions == [0]
    assert session.load(saved, game).actions == [0]


def test_a_registered_game_is_the_same_by_name_by_address_and_with_its_parameters():
    assert games.same("othello", "othello:size=8")
    assert games.same("games.othello:Othello", "othello")
    assert not games.same("othello:size=6", "othello")
    assert not games.same("nowhere:Class", "othello")
    assert not games.same("othello:size=x", "othello:size=y")
    assert games.address_of("games.othello:Othello") is None
    assert games.address_of("othello:size=6") is None
    assert games.address_of("nothing") is None
    assert games.address_of("a.b:C:size=6") == "a.b:C"
    assert games.address_of("a:b:c:d=1") == "a:b:c"


def test_the_options_of_a_message_can_be_pasted_into_a_shell():
    assert addresses.options(["a:B", "c:D"]) == "--allow a:B --allow c:D"
    with pytest.raises(ValueError, match="game: 'a:b; rm' is no address"):
        addresses.check_allowed({"game": "a:b; rm"}, (), "x")


@pytest.mark.parametrize("name", sorted(name for name in crafts.CRAFTED if name.startswith("run:")))
def test_a_run_whose_files_are_links_or_fifos_is_not_resumed(name, stranger, settings):
    craft(stranger, name)
    message = refusal(lambda: alphazero.train(settings, stranger, resume=True))
    assert ("is a FIFO" in message) == name.endswith("FIFO")
    assert ("is a link" in message) == name.endswith("link")
    assert not Path("/tmp/made-up-target").exists()


@pytest.mark.parametrize("name", crafts.STATES)
def test_a_run_with_another_training_state_is_not_resumed(name, stranger, settings):
    if name in ("no moments", "step 1e3", "weights"):
        pytest.skip("a state that can be continued")
    craft(stranger, f"state: {name}")
    games_before = (stranger / "games").stat().st_mtime_ns
    assert "\n" not in refusal(lambda: alphazero.train(settings, stranger, resume=True))
    assert (stranger / "games").stat().st_mtime_ns == games_before


def test_a_folders_texts_cannot_move_the_cursor_of_a_terminal(stranger, settings):
    craft(stranger, "config.yaml: escapes")
    begun = alphazero.load_config(
        "tic_tac_toe", [*SETTINGS, f"training.initial_weights={stranger / crafts.STEP}"]
    )
    for call in (
        lambda: alphazero.train(settings, stranger, resume=True),
        lambda: train_command.main(settings, stranger, True, "off", None),
        lambda: alphazero.train(begun, "begun"),
    ):
        assert "?[2J?]0;owned?" in refusal(call)


def test_a_run_that_was_played_on_a_cluster_connects_to_none_by_itself(stranger, settings):
    crafts.setting("ray", "evil.example:6379")(stranger, np.random.default_rng(0))
    message = refusal(lambda: train_command.main(settings, stranger, True, "auto", None))
    assert "the run played on Ray at evil.example:6379: say --ray" in message


def test_weights_of_another_shape_are_refused_before_the_network_is_built(stranger, monkeypatch):
    crafts.setting("network.channels", 500)(stranger, np.random.default_rng(0))
    monkeypatch.setattr(network, "for_inference", None)
    monkeypatch.setattr(checkpoint, "complete", None)
    assert "weights of another network" in refusal(lambda: alphazero.load_agent(stranger))


@pytest.mark.parametrize("kind", ["network.encoder", "network"])
def test_settings_that_change_after_they_were_allowed_are_not_used(kind, stranger, monkeypatch):
    """Two processes may share a folder: what was checked is what is used."""
    value = crafts.TRAP if kind == "network.encoder" else {"kind": crafts.TRAP}

    def change(*_: object) -> None:
        crafts.setting(kind, value)(stranger, np.random.default_rng(0))

    monkeypatch.setattr(checkpoint, "check_rules", change)
    assert alphazero.load_agent(stranger).checkpoint.config.network.encoder == "game"
    assert crafts.TRAP in (stranger / crafts.STEP / "config.yaml").read_text()
    assert not crafts.ran(stranger)


def test_weights_that_change_after_they_were_described_are_not_used(stranger, monkeypatch):
    def change(*_: object) -> None:
        crafts.CRAFTED["weights: NaN"](stranger, np.random.default_rng(0))

    monkeypatch.setattr(checkpoint, "check_rules", change)
    assert "weights.safetensors was altered" in refusal(lambda: alphazero.load_agent(stranger))


def test_weights_of_another_shape_are_not_exported(stranger, monkeypatch):
    """Before they are read: they may take any memory."""
    craft(stranger, "weights: a head")
    monkeypatch.setattr(checkpoint, "complete", None)
    message = refusal(lambda: export.export(stranger, Path("exported")))
    assert "weights of another network: missing [], unknown ['heads.x']" in message
    assert not Path("exported").exists()


def test_one_allowed_address_may_be_given_as_a_text_whose_parts_are_not_allowed(stranger):
    crafts.setting("search", {"kind": crafts.TRAP})(stranger, np.random.default_rng(0))
    step = stranger / crafts.STEP
    assert "--allow" in refusal(lambda: alphazero.load_agent(step, allow=f"x.{crafts.TRAP}s"))
    assert not crafts.ran(stranger)
    addresses.check_allowed({"game": crafts.TRAP}, crafts.TRAP, step)


def test_an_absurd_network_is_refused_when_its_settings_are_read():
    with pytest.raises(ValueError, match=r"network\.blocks: got 900, should be less than or equal"):
        alphazero.load_config("tic_tac_toe", ["network.blocks=900"])
    with pytest.raises(ValueError, match="are 1,207,959,552 weights, more than 200,000,000"):
        alphazero.load_config("tic_tac_toe", ["network.blocks=4", "network.channels=4096"])


def test_the_training_state_of_the_largest_network_is_no_file_that_is_too_long():
    """Each weight counts four times: itself, its average and two moments of Adam, in float32."""
    assert 4 * 4 * ranges.TOWER < sealed.LARGEST


def test_a_message_about_other_weights_names_at_most_three():
    wanted = r"missing \[\], unknown \['w0', 'w1', 'w2'\] and 6 more$"
    with pytest.raises(ValueError, match=wanted):
        weights.check_shapes({}, {f"w{number}": (1,) for number in range(9)})


def test_a_file_that_the_manifest_does_not_list_is_not_read(stranger):
    craft(stranger, "manifest: no state")
    assert "is a released agent" in refusal(lambda: checkpoint.load_state(stranger / crafts.STEP))
    craft(stranger, "manifest: no config")
    assert "does not list config.yaml" in refusal(lambda: alphazero.load_agent(stranger))


def test_a_run_that_began_with_itself_is_exported(stranger):
    """Two runs that name each other would be followed for ever."""
    shutil.copytree(stranger, "other")
    for run, source in ((stranger, "other"), (Path("other"), "stranger")):
        crafts.setting("training.initial_weights", source)(run, np.random.default_rng(0))
    export.export(stranger, Path("exported"))
    training = json.loads(Path("exported/MANIFEST.json").read_bytes())["training"]
    assert training["began_with"]["path"] == "other"


SUPERVISED = {
    "classes": ("model.json", b'{"classes": 3, "shape": [1, 8, 8]}'),
    "many": ("model.json", b'{"shape": [1, 8, 8], "classes": ["b"' + b',"a"' * 10**5 + b"]}"),
    "shape": ("model.json", b'{"classes": ["a", "b", "c"], "shape": [1, 100000, 100000]}'),
    "negative": ("model.json", b'{"classes": ["a", "b", "c"], "shape": [1, -8, 8]}'),
    "two sides": ("model.json", b'{"classes": ["a", "b", "c"], "shape": [8]}'),
    "nested": ("model.json", b"[" * 10**5),
    "hidden": ("config.yaml", b"data: {kind: images}\nmodel: {kind: mlp, hidden: [9999, 99999]}\n"),
    "gan": ("config.yaml", b"data: {kind: images}\nmodel: {kind: gan, noise: 1000000000}\n"),
    "texts": ("config.yaml", b"data: {kind: texts}\nmodel: {kind: textcnn}\n"),
    "yaml": ("config.yaml", b"[" * 3000),
    "state": ("training.pt", b"cos\nsystem\n(S'touch ran'\ntR."),
}  # fmt: skip


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_crafted_supervised_model_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = supervised_config.load("mlp", ["model.hidden=[4]"])
    bare = model._bare_network(config, tuple("abc"), (1, 8, 8))
    arrays = {key: value.numpy() for key, value in bare.state_dict().items()}
    path = model.save(tmp_path, 1, model.Model(config, tuple("abc"), (1, 8, 8), None, arrays), {})
    file, content = SUPERVISED[name]
    (path / file).write_bytes(content)
    crafts.seal(path)
    assert refusal(lambda: model.load_state(path) if name == "state" else model.Predictor(path))
    assert not Path("ran").exists()


def test_sizes_are_compared_before_anything_is_hashed(tmp_path, monkeypatch):
    sealed.write(tmp_path, {"a": b"12345"}, {"step": 1})
    os.truncate(tmp_path / "a", 2**33)
    monkeypatch.setattr(sealed, "_fingerprint_of", None)
    assert "a was altered: its size differs" in str(sealed.find_damage(tmp_path))


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(plain_files.NotPlain, match="a has 5 bytes, should have at most 4"):
        plain_files.read(tmp_path / "a", 4)
    assert plain_files.read(tmp_path / "a", 5) == b"12345"


def test_a_runs_own_folder_may_be_a_link(original, tmp_path):
    (tmp_path / "link").symlink_to(original)
    resuming.check_folder(tmp_path / "link")
    assert alphazero.load_agent(tmp_path / "link").game.name == "tic_tac_toe"


@pytest.mark.parametrize(
    ("error", "text"),
    [(KeyError("step"), "KeyError 'step'"), (ValueError("a\nb"), "a b"), (EOFError(), "EOFError"),
     (ValueError("\x1b[2J"), "?[2J"), (OSError(2, "No such file"), "No such file")],
)  # fmt: skip
def test_any_error_has_a_reason_of_one_line(error, text):
    assert errors.reason(error) == text
