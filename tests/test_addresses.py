"""Searches, networks and encoders of the user's own, named by their address."""

import sys
import textwrap

import pytest
from pydantic import TypeAdapter

from alphazero import addresses, config, config_file
from alphazero.addresses import ByAddress
from alphazero.config import Config, ConfigError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into a folder from which it can be imported; returns its name."""

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


SEARCH = """
    class OnePly:
        def __init__(self, sharpness=5.0):
            self.simulations, self.sharpness = 1, sharpness

        def __call__(self, game, states, rngs, temperature):
            yield states

        def without_noise(self, simulations=None, leaves=1):
            return self

    class Endless(OnePly):
        def __init__(self):
            self.simulations = None

    class Noisy(OnePly):
        without_noise = None

    class Constants:
        simulations = 1
        without_noise = OnePly.without_noise
"""


OTHERS = """
    number = 3

    class Net:
        def __init__(self, shape, num_actions, layers):
            pass
"""


def errors(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load("tic_tac_toe", overrides)
    (line,) = caught.value.lines
    return line


def test_all_keys_beside_kind_are_arguments_of_the_class(module):
    module("own_search", SEARCH)
    loaded = config.load("tic_tac_toe", ["search={kind: own_search:OnePly, sharpness: 2}"])
    assert loaded.search == ByAddress(kind="own_search:OnePly", options={"sharpness": 2})
    assert addresses.build(loaded.search, "search").sharpness == 2


def test_an_address_survives_the_file_of_a_checkpoint():
    section = ByAddress(kind="own_search:OnePly", options={"sharpness": 2, "names": ["a", "b"]})
    text = config_file.as_yaml(Config(game="tic_tac_toe", search=section))
    again = config_file.parse(Config, text, "config.yaml")
    assert again.search == section
    assert config_file.as_dict(again)["search"] == {
        "kind": "own_search:OnePly",
        "sharpness": 2,
        "names": ["a", "b"],
    }


@pytest.mark.parametrize("section", ["search", "network"])
def test_reading_a_stored_configuration_imports_nothing(module, section):
    module("own_trap", "raise SystemExit('the module was imported')")
    stored = {"game": "tic_tac_toe", section: {"kind": "own_trap:Class", "size": 3}}
    read = TypeAdapter(Config).validate_python(stored)
    chosen = getattr(read, section)
    assert (chosen.kind, chosen.options) == ("own_trap:Class", {"size": 3})
    assert "own_trap" not in sys.modules


def test_a_configuration_stored_before_networks_had_kinds_is_read():
    read = TypeAdapter(Config).validate_python({"game": "tic_tac_toe", "network": {"blocks": 3}})
    assert read.network == config.NetworkSettings(blocks=3)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (
            "search={kind: own_absent:OnePly}",
            "search 'own_absent:OnePly' cannot be imported: No",
        ),
        (
            "search={kind: own_search:TwoPly}",
            "cannot be imported: module 'own_search' has no",
        ),
        ("search={kind: own_search:OnePly, sharp: 2}", "did you mean 'sharpness'?"),
        ("search.kind=own_search:OnePly", "has no argument 'simulations'"),
        ("search={kind: own_search:number}", "is not a class"),
        ("search={kind: own_search:Endless}", "needs simulations, an int above 0, not None"),
        ("search={kind: own_search:Noisy}", "is not a search: it has no without_noise"),
        ("search={kind: own_search:Constants}", "is not a search: it has no __call__"),
        ("network={kind: own_absent:Net}", "network 'own_absent:Net' cannot be imported"),
        ("network={kind: own_search:Net}", "missing a required argument: 'layers'"),
        ("network={kind: own_search:Net, layers: 1, shape: 2}", "multiple values for argument"),
        (
            "network.kind=resnet",
            "should be one of residual, perceptron, or the address module:Class",
        ),
    ],
)
def test_an_address_that_will_not_do_is_explained_before_a_run(module, override, part):
    module("own_search", SEARCH + OTHERS)
    assert part in errors(override)


def test_keys_of_the_files_section_are_named_with_the_way_to_replace_them(module):
    module("own_search", SEARCH)
    line = errors("search.kind=own_search:OnePly")
    assert "replace the whole section, 'search={kind: own_search:OnePly}'" in line
    config.load("tic_tac_toe", ["search={kind: own_search:OnePly}"])


def test_a_module_that_raises_is_reported_in_one_line(module):
    module("own_broken", "raise RuntimeError('first line\\nsecond line')")
    assert "first line second line" in errors("search={kind: own_broken:OnePly}")


def test_a_class_that_refuses_its_arguments_is_reported_in_one_line(module):
    module(
        "own_strict", "class Strict:\n    def __init__(self, size=1): raise ValueError('no\\n2')"
    )
    with pytest.raises(ValueError, match=r"^search 'own_strict:Strict' cannot be made: no 2$"):
        addresses.build(ByAddress(kind="own_strict:Strict", options={"size": 3}), "search")
