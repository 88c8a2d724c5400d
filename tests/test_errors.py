"""The cause of an error in one line."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from alphazero.config import TrackingSettings
from alphazero.errors import LONGEST, reason


def test_an_error_of_several_lines_becomes_one():
    assert reason(RuntimeError("it broke\n  in two lines")) == "it broke in two lines"


def test_an_error_without_a_text_is_named_by_its_type():
    assert reason(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_long_text_is_cut():
    assert len(reason(ValueError("x" * 10**6))) == LONGEST + 3


def test_an_error_of_pydantic_names_the_fields_not_their_number():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(TrackingSettings).validate_python({"log_every": -1})
    assert str(caught.value).startswith("1 validation error")
    assert reason(caught.value) == "log_every: should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1,", "no JSON at line 1, column 4: expecting value"),
        ('{"a": "b', "no JSON at line 1, column 7: unterminated string starting"),
        ('["\n"]', "no JSON at line 1, column 3: invalid control character"),
    ],
)
def test_an_error_of_json_names_the_place_first(text, said):
    with pytest.raises(ValueError, match="column") as caught:
        json.loads(text)
    assert reason(caught.value) == said


def test_an_error_of_a_ray_task_is_named_by_its_cause():
    from ray.exceptions import RayTaskError

    cause = ValueError("no such file")
    assert reason(RayTaskError("f", "a traceback\nof many lines", cause)) == "no such file"
