"""The YAML of configurations: what it means, what is refused, and that it ends."""

import importlib.util
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphazero import plain_yaml
from alphazero.plain_yaml import NotPlainYaml

SCRIPT = Path(__file__).parent / "benchmarks" / "mutated_configurations.py"


@pytest.fixture(scope="module")
def mutated():
    spec = importlib.util.spec_from_file_location("mutated_configurations", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hundreds_of_mutated_configurations_are_valid_or_refused_in_short_lines(mutated, tmp_path):
    ends = [mutated.read(case, tmp_path / "x.yaml") for case in islice(mutated.cases(1), 300)]
    assert [end for end in ends if end[0] == "fault"] == []
    assert {end for end, _ in ends} == {"valid", "refused"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("010", 10), ("0x1f", 31), ("0o17", 15), ("1_000", 1000), ("-3", -3),
        ("1e-4", 1e-4), (".5", 0.5), ("5.", 5.0), ("1E3", 1000.0), ("-.inf", float("-inf")),
        ("true", True), ("~", None), ("", None), ("off", "off"), ("yes", "yes"), ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"), ("=", "="), ("0b_", "0b_"), ("'5'", "5"),
        ("[a, 1]", ["a", 1]),
        ("<<: 5", {"<<": 5}), ("1: 2", {1: 2}), ("9" * 101, "9" * 101),
    ],
)  # fmt: skip
def test_words_and_numbers_are_those_of_yaml_1_2(text, value):
    assert plain_yaml.load(text) == value
    assert type(plain_yaml.load(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: &x 1", 2, "anchors and aliases"),
        ("a: *x", 1, "anchors and aliases"),
        ("&a [*a]", 1, "anchors and aliases"),
        ("a: !!int ''", 1, "tags"),
        ("a: !!timestamp x", 1, "tags"),
        ("a: ! 5", 1, "tags"),
        ("[" * 3000, 1, "more than 20 lists or sections"),
        ("- " * 3000, 1, "more than 20 lists or sections"),
        ("[" + "a," * 25_000, 1, "more than 20,000 keys and values"),
        ("a\n" * 200_000, None, "longer than 262,144 characters"),
        ("[a]: 1", 1, "a key should be a word"),
        ('a: "\\UFFFFFFFF"', None, "an escape names no character"),
        ('a: "\\ud800"', 1, "an escape names no character"),
        ('a: "\\0"', 1, "an escape names no character"),
        ("a: 1\nb: \0", 2, "the character 0x0"),
        ("a: b: c", 1, "mapping values are not allowed here"),
    ],
)
def test_what_is_more_than_words_numbers_lists_and_sections_is_refused(text, line, problem):
    with pytest.raises(NotPlainYaml, match=problem) as caught:
        plain_yaml.load(text)
    assert caught.value.line == line


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
NUMBER_LIKE = st.from_regex(r"\A[-+0-9._eoxabf:~]{1,12}\Z")


@given(
    st.recursive(
        SCALARS | NUMBER_LIKE, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
    )
)
def test_what_is_written_reads_back_the_same(value):
    assert plain_yaml.load(plain_yaml.dump(value)) == value


def test_a_file_may_begin_with_a_byte_order_mark_but_not_be_large(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert plain_yaml.load(plain_yaml.read_text(path)) == {"a": 1}
    path.write_bytes(b"#" * (plain_yaml.LARGEST + 1))
    with pytest.raises(NotPlainYaml, match="larger than 256 KiB"):
        plain_yaml.read_text(path)
