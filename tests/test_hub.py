"""Agents of the hub: named, downloaded, played, uploaded.

The hub is a server of the test on this machine; nothing else is reached.
"""

import hashlib
import json
import os
import shutil
import sys
import time

import numpy as np
import pytest

hub_library = pytest.importorskip("huggingface_hub")

import hub_stand_in  # noqa: E402
from hub_stand_in import (  # noqa: E402
    ADDRESS,
    AGENT,
    LISTING,
    SOURCE,
    WEIGHTS,
    commit_of,
    files_of,
)
from huggingface_hub.utils import validate_repo_id  # noqa: E402

import alphazero  # noqa: E402
import games  # noqa: E402
from alphazero import agents, checkpoint, hub, sealed  # noqa: E402
from alphazero.agents import cards  # noqa: E402
from alphazero.judging import players  # noqa: E402
from workers import cli  # noqa: E402

server = hub_stand_in.server

# Addresses


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("hf://ann/hex", "ann/hex", None),
        ("hf://Ann-B/hex_7x7.v2", "Ann-B/hex_7x7.v2", None),
        ("hf://ann/hex@v1.0", "ann/hex", "v1.0"),
        (f"hf://ann/hex@{'a1' * 20}", "ann/hex", "a1" * 20),
    ],
)
def test_an_address_names_a_user_an_agent_and_perhaps_a_revision(text, repository, revision):
    assert hub.parse(text) == hub.Address(repository, revision)
    assert str(hub.parse(text)) == text
    validate_repo_id(repository)  # the library agrees


@pytest.mark.parametrize(
    "text",
    [
        "hf://ann", "hf://ann/", "hf://ann/hex/x", "hf://../hex", "hf://ann/..", "hf://ann/.git",
        "hf://ann/a..b", "hf://ann/a--b", "hf://ann/hex@", "hf://ann/hex@../x", "hf://ann/h%2fx",
        "hf://ann/hex?x=1", "hf://ann/hex#x", "hf://a b/hex", "hf://ann@x/hex", "hf://ann/hex\n",
        "hf://127.0.0.1:80/hex", "hf://ann/\x1b[2J", f"hf://ann/{'x' * 500}", "https://ann/hex",
    ],
)  # fmt: skip
def test_any_other_text_is_refused_in_one_short_line(text):
    with pytest.raises(ValueError, match="is no agent of the hub: hf://USER/AGENT or") as error:
        hub.parse(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 250


def test_a_player_is_named_by_the_address_alone_or_by_its_path_with_options():
    assert players.parse(ADDRESS) == ("checkpoint", {"path": ADDRESS})
    for text in (f"{ADDRESS}:simulations=5", f"{ADDRESS},simulations=5"):
        assert players.parse(text) == ("checkpoint", {"path": ADDRESS, "simulations": "5"})
    assert players.parse(f"policy:path={ADDRESS}@v1") == ("policy", {"path": f"{ADDRESS}@v1"})
    for text in ("hf://ann", "policy:path=hf://ann/.."):
        with pytest.raises(ValueError, match="is no agent of the hub"):
            players.parse(text)


# Downloads


def test_an_agent_is_downloaded_with_its_card_and_nothing_else(server, tmp_path):
    commit = hub.download(ADDRESS, tmp_path / "agent")
    assert commit == commit_of(server)
    assert {path.name: path.read_bytes() for path in (tmp_path / "agent").iterdir()} == {
        path.name: path.read_bytes() for path in SOURCE.iterdir()
    }
    requested = [path for _, path, _ in server.log if "/resolve/" in path]
    assert [path.split("/")[4] for path in requested] == [commit] * 4
    assert all(with_token for _, _, with_token in server.log)


def test_a_player_and_an_agent_of_the_hub_play_like_the_same_files(server):
    game = games.make("tic_tac_toe")
    states = game.step(game.initial(9), np.arange(9))
    rngs = [np.random.default_rng(row) for row in range(9)]
    remote = players.make(f"policy:path={ADDRESS}", game)
    local = players.make(f"policy:path={SOURCE}", game)
    np.testing.assert_allclose(remote(states, rngs).policy, local(states, rngs).policy, atol=0.02)
    assert remote.name == f"policy:path={ADDRESS}"
    assert players.make(f"{ADDRESS}:simulations=3", game).simulations == 3
    agent = alphazero.load_agent(ADDRESS, simulations=8)
    assert (agent.name, agent.game.name) == (ADDRESS, "tic_tac_toe")


def test_files_are_downloaded_once_per_commit_and_a_damaged_copy_again(server):
    folder = hub.local_folder(ADDRESS)
    first = len(server.log)
    assert hub.local_folder(ADDRESS) == folder
    assert [path for _, path, _ in server.log[first:]] == [LISTING]
    (folder / "config.yaml").write_text("game: othello")
    assert sealed.find_damage(hub.local_folder(ADDRESS)) is None
    server.add(AGENT, files_of(agents.find("connect_four")))
    newer = hub.local_folder(ADDRESS)
    assert newer != folder
    assert checkpoint.describe(newer).config.game == "connect_four"
    assert checkpoint.describe(folder).config.game == "tic_tac_toe"


def test_a_commit_that_was_downloaded_needs_no_network(server):
    address = f"{ADDRESS}@{commit_of(server)}"
    folder = hub.local_folder(ADDRESS)
    server.log.clear()
    assert hub.local_folder(address) == folder
    assert server.log == []


def test_a_process_that_downloads_the_same_at_the_same_time_does_no_harm(server, monkeypatch):
    download = hub._download

    def overtaken(address, listing, folder):
        download(address, listing, folder)
        download(address, listing, folder)

    monkeypatch.setattr(hub, "_download", overtaken)
    folder = hub.local_folder(ADDRESS)
    assert sealed.find_damage(folder) is None
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_download_that_another_process_has_finished_is_not_deleted(server, monkeypatch):
    folder = hub.local_folder(ADDRESS)
    whole = folder.rename(folder.with_name("whole"))
    original, looked = hub._is_damaged, []

    def overtaken(path):
        damaged = original(path)
        if path == folder and not looked:
            looked.append(whole.rename(folder))  # after it was looked at
        return damaged

    monkeypatch.setattr(hub, "_is_damaged", overtaken)
    path = f"/{AGENT}/resolve/{commit_of(server)}/MANIFEST.json"
    server.answers[path] = lambda request: request.send(b"", 500)
    assert hub.local_folder(ADDRESS) == folder
    assert looked == [folder]
    assert sealed.find_damage(folder) is None
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_killed_download_has_left_is_deleted_after_a_day(server, tmp_path):
    (tmp_path / "here").mkdir()
    names = [f".downloading-{'0' * 15}{n}" for n in range(2)] + [".downloading-mine", "0" * 16]
    for hours, name in zip((25, 23, 25, 25), names, strict=True):
        (tmp_path / "here" / name).mkdir()
        (tmp_path / "here" / name / "weights.safetensors").touch()
        then = time.time() - hours * 3600
        os.utime(tmp_path / "here" / name, (then, then))
    hub.download(ADDRESS, tmp_path / "here/agent")
    left = {path.name for path in (tmp_path / "here").iterdir()}
    assert left == {*names[1:], "agent"}


def test_a_player_of_a_file_is_never_downloaded(server, tmp_path, capsys):
    from alphazero.judging import ladder

    game = games.make("tic_tac_toe")
    for call in (
        lambda: players.check(f"checkpoint:path={ADDRESS}", game),
        lambda: players.make(ADDRESS, game, downloads=False),
        lambda: ladder.opponent(game, ADDRESS).__enter__(),
    ):
        with pytest.raises(ValueError, match="downloaded only where a command line names it"):
            call()
    words = ["train", "tic_tac_toe", f"evaluation.opponent=checkpoint:path={ADDRESS}"]
    assert cli.main([*words, "evaluation.every=1", "--run-dir", str(tmp_path / "run")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"`alphazero agents get {ADDRESS}` writes it to a folder" in error
    assert server.log == []


def test_the_folder_that_the_user_names_is_never_overwritten(server, tmp_path):
    (tmp_path / "agent").mkdir()
    with pytest.raises(ValueError, match="agent exists already"):
        hub.download(ADDRESS, tmp_path / "agent")
    assert list((tmp_path / "agent").iterdir()) == []
    assert server.log == []


# The commands


def test_get_and_info_show_an_agent_of_the_hub(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["agents", "get", ADDRESS]) == 0
    printed = capsys.readouterr().out
    assert f"ttt holds the agent (0.17 MB of weights, commit {commit_of(server)})" in printed
    assert hashlib.sha256((SOURCE / WEIGHTS).read_bytes()).hexdigest() in printed
    assert cli.main(["agents", "get", ADDRESS]) == 2
    assert "ttt exists already" in capsys.readouterr().err
    assert cli.main(["agents", "info", ADDRESS, "--json", "-"]) == 0
    remote = json.loads(capsys.readouterr().out)
    assert cli.main(["agents", "info", "ttt", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == remote
    assert (remote["game"], remote["parameters"]) == ("tic_tac_toe", 42691)


def test_a_terminal_is_not_controlled_by_an_agents_files(server, tmp_path, capsys):
    evil = "\x1b]0;owned\x07\x1b[2J[bold red]x[/]"
    card = cards.metadata("tic_tac_toe", [cards.Result("elo", 1.0, evil, evil * 99)])
    server.add(AGENT, files_of(SOURCE) | {"README.md": card.encode()})
    assert cli.main(["agents", "info", ADDRESS]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[bold red]" in printed
    assert len(printed) < 3000


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the library's own
@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_an_exported_agent_is_uploaded_with_its_card_and_comes_back_unchanged(
    server, tmp_path, capsys, monkeypatch, mode
):
    # The library's own protocol for large files is not part of the stand-in.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    server.upload_mode = mode
    assert cli.main(["export", str(SOURCE), "--to", "hf://bob/mine"]) == 0
    printed = capsys.readouterr()
    assert f"hf://bob/mine holds the agent and its model card: {server.url}/bob/mine/commit/" in (
        printed.out
    )
    assert printed.err == ""
    assert server.repositories["bob/mine"].keys() == {
        ".gitattributes", "README.md", "MANIFEST.json", "config.yaml", WEIGHTS,
    }  # fmt: skip
    hub.download("hf://bob/mine", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(SOURCE)


def test_a_card_of_an_earlier_version_gets_its_metadata(server, tmp_path):
    folder = shutil.copytree(SOURCE, tmp_path / "agent")
    (folder / agents.CARD).write_text(agents.card("tic_tac_toe"))
    assert cli.main(["export", str(folder), "--to", "hf://bob/mine"]) == 0
    card = server.repositories["bob/mine"]["README.md"].decode()
    assert hub_library.ModelCard(card).data.license == "apache-2.0"
    assert card.endswith(agents.card("tic_tac_toe"))


def test_a_run_is_uploaded_with_a_card_whose_commands_name_the_address(
    server, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("alphazero.agents.SIMULATIONS", 2)
    monkeypatch.setattr("workers.runs.strength.OPPONENTS", ("random",))
    run = tmp_path / "run/checkpoints"
    run.mkdir(parents=True)
    trained = checkpoint.load(SOURCE)
    checkpoint.save(tmp_path / "run", 7, trained.weights, {}, trained.config)
    words = ["export", str(tmp_path / "run"), "--to", "hf://bob/mine", "--measure", "2"]
    assert cli.main(words) == 0
    card = server.repositories["bob/mine"]["README.md"].decode()
    assert "alphazero arena checkpoint:path=hf://bob/mine,simulations=2" in card
    assert str(tmp_path) not in card
    data = hub_library.ModelCard(card).data
    assert (data.license, data.library_name) == ("apache-2.0", "distributed-alphazero")
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type) == ("random", "points")
    assert 0 <= result.metric_value <= 100


def test_an_upload_that_is_refused_is_one_line(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert cli.main(["export", str(SOURCE), "--to", "hf://bob/mine"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "hf://bob/mine: the hub needs a valid token to publish an agent: `hf auth" in error
    assert cli.main(["export", str(SOURCE), "--to", "hf://bob/mine@v1"]) == 2
    assert "a revision is read, not written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["export", str(SOURCE), "--to", "hf://bob"])
    assert "is no agent of the hub" in " ".join(capsys.readouterr().err.split())
    assert server.repositories.keys() == {AGENT}


def test_without_the_library_one_line_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    hint = "hf:// needs huggingface_hub: run python -m pip install --editable '.[hub]'"
    for words in (
        ["agents", "get", ADDRESS, "--to", str(tmp_path / "agent")],
        ["agents", "info", ADDRESS],
        ["export", str(SOURCE), "--to", ADDRESS],
        ["evaluate", "tic_tac_toe", "--positions", "all", "--player", ADDRESS],
    ):
        assert cli.main(words) == 2
        assert hint in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_before_an_address_is_used(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["agents", "list"]) == 0
    players.parse(ADDRESS)
    assert "huggingface_hub" not in sys.modules


def test_a_copy_of_a_bundled_agent_plays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["agents", "get", "go:komi=24,size=5"]) == 0
    assert files_of(tmp_path / "go_5x5") == files_of(agents.find("go:size=5,komi=24.0,history=16"))
    assert cli.main(["agents", "get", "hex:size=9"]) == 2
    said = "no agent 'hex:size=9' comes with this program; for hex there is hex:size=7,swap=false"
    assert said in capsys.readouterr().err


def test_a_damaged_agent_is_not_copied(tmp_path, monkeypatch, capsys):
    damaged = shutil.copytree(agents.FOLDER, tmp_path / "agents") / "tic_tac_toe"
    (damaged / "config.yaml").write_bytes((damaged / "config.yaml").read_bytes()[::-1])
    monkeypatch.setattr(agents, "FOLDER", tmp_path / "agents")
    assert cli.main(["agents", "get", "tic_tac_toe", "--to", str(tmp_path / "copy")]) == 2
    assert "config.yaml was altered" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()
