"""Options of games and players as texts, calls among them, and texts nearest to what was typed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import games
from games.base import Game
from games.spec import nearest, parse_call, parse_options, plain_call
from games.tic_tac_toe import TicTacToe

WORDS = st.text("abcxyz_019 .", min_size=1, max_size=6).map(str.strip).filter(bool)
ARGUMENTS = st.dictionaries(WORDS, WORDS, max_size=3)
OPTIONS = st.text("ab=, '\"", max_size=20)

MOVES = ["a1-b2", "a5-a6", "e1-c3", "e1-d2", "c3-e1", "/f1"]


def test_what_begins_as_the_text_comes_first_and_case_is_ignored():
    assert nearest("E1", MOVES, 3)[:2] == ["e1-c3", "e1-d2"]
    assert nearest("e1-d", MOVES, 1) == ["e1-d2"]


def test_then_what_has_most_characters_in_common():
    assert nearest("e2-c3", MOVES, 1) == ["e1-c3"]
    assert nearest("f1", MOVES, 1) == ["/f1"]


def test_there_are_at_most_so_many_and_none_of_none():
    assert len(nearest("", MOVES, 4)) == 4
    assert nearest("x", [], 4) == []


def written(name, arguments):
    return f"{name}({','.join(f'{key}={value}' for key, value in arguments.items())})"


@given(OPTIONS)
def test_without_parentheses_options_are_read_alike_with_and_without_calls(text):
    assert parse_options(text, calls=True) == parse_options(text)


@given(WORDS, ARGUMENTS, st.dictionaries(WORDS, WORDS, max_size=3))
def test_commas_and_equals_signs_in_parentheses_belong_to_the_call(name, arguments, options):
    call = written(name, arguments)
    text = ",".join([call, *(f"{key}={value}" for key, value in options.items())])
    first, *others = parse_options(text, calls=True)
    assert (first.key, first.value) == (call, None)
    assert [(key, value) for key, value, _ in others] == list(options.items())
    assert parse_options(f"rules={text}", calls=True)[0][:2] == ("rules", call)
    assert parse_call(call) == (name, arguments)


@given(WORDS, ARGUMENTS)
def test_a_call_has_one_plain_way_of_writing_which_says_the_same(name, arguments):
    plain = plain_call(f" {name} ( {', '.join(f' {k} = {v} ' for k, v in arguments.items())} )")
    assert parse_call(plain) == (name, arguments)
    assert plain_call(plain) == plain
    backwards = dict(reversed(arguments.items()))
    assert plain_call(written(name, backwards)) == plain


@given(st.text("ab(),=: ", max_size=12))
def test_any_text_is_a_call_or_refused(text):
    try:
        name, arguments = parse_call(text)
    except ValueError:
        assert plain_call(text) == text
    else:
        assert not set(name) & {"(", ")"}
        assert parse_call(plain_call(text)) == (name, arguments)


@given(st.text("ab(),=: ", max_size=15))
def test_any_text_as_a_game_has_an_address_or_none_and_is_made_or_refused(text):
    games.address_of(text)
    for spec in (f"othello:{text}", f"open_spiel:{text}", f"pettingzoo:{text}"):
        games.address_of(spec)
        games.same(spec, "open_spiel:hex")


@pytest.mark.parametrize(
    "text", ["hex(a=1", "hex(a)", "hex(a=1,a=2)", "hex)(", "hex(a=(b=1))", "hex(=1)"]
)
def test_what_is_no_call_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_call(text)


def test_ten_thousand_parentheses_are_read_in_linear_time():
    assert len(parse_options("(," * 500_000, calls=True)) == 1


class Named(TicTacToe):
    """A game with a parameter that needs no key."""

    keyless = "rules"

    def __init__(self, rules: str = "plain", size: int = 3):
        self.name, self.rules, self.size = "named", rules, size


def test_a_games_keyless_parameter_comes_first_with_or_without_its_key(monkeypatch):
    monkeypatch.setattr(games, "_registry", dict(games._registry))
    games.register("named", Named)
    assert Game.keyless == ""
    for text in ("named:hex(b=2, a=1),size=4", "named:rules=hex(a=1,b=2),size=4"):
        game = games.make(text)
        assert isinstance(game, Named)
        assert (game.rules, game.size) == ("hex(a=1,b=2)", 4)
    for text in ("named:size=4,hex", "othello:6"):
        with pytest.raises(ValueError, match="parameters are written key=value, not"):
            games.make(text)
    own = "test_games_spec:Named:hex(a=1)"
    assert games.named(own) == ("named", "hex(a=1)")
    assert games.named("elsewhere:Named:hex(a=1)") == ("elsewhere:Named", "hex(a=1)")
    assert games.named("elsewhere:Named:rules=a:b") == ("elsewhere:Named", "rules=a:b")
