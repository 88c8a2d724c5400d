"""Classification behind HTTP: the service ``/predict`` for images and texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, create_model

from workers.serve import bodies
from workers.serve.bodies import RequestError
from workers.serve.limits import Limits
from workers.serve.service import ParsedRequest, Service

PATH = "/predict"


class Predictor(Protocol):
    """A trained classifier, such as ``alphazero.supervised.model.Predictor``."""

    @property
    def kind(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def predict(self, inputs: Any) -> NDArray[np.float32]: ...

    def warning(self, inputs: Any) -> str | None: ...


class Prediction(BaseModel):
    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """The probability of each class."""
    warning: str | None = None
    """Present where the image looks as if light and dark were exchanged."""


class Result(NamedTuple):
    """The result for one input."""

    probabilities: NDArray[np.float32]
    warning: str | None


class Predictions(BaseModel):
    predictions: list[Prediction]
    """In the order of the inputs."""


def service(predictor: Predictor, limits: Limits) -> Service:
    """The service ``/predict`` of ``predictor``."""
    return (_images if predictor.kind == "images" else _texts)(predictor, limits)


def _images(predictor: Predictor, limits: Limits) -> Service:
    _, height, width = predictor.shape
    pixel = Annotated[int, Field(strict=True, ge=0, le=255)]
    body = _body_model("image", _list_of(_list_of(pixel, width), height), limits.batch)

    async def parse(request: Request) -> ParsedRequest:
        kind = bodies.content_type(request)
        if kind == bodies.JSON:
            grids, several = _inputs(await bodies.json_body(request, body), "image")
            return ParsedRequest([np.array(grid, np.uint8)[None] for grid in grids], several)
        if kind == bodies.PNG:
            files = [await request.body()]
        elif kind == bodies.UPLOAD:
            files = await bodies.uploads(request, "image", limits.batch)
        else:
            raise bodies.unsupported(request, bodies.JSON, bodies.PNG, bodies.UPLOAD)
        pictures = [bodies.picture(file, height, width, "image")[None] for file in files]
        return ParsedRequest(pictures, len(files) > 1)

    file = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": file, "minItems": 1, "maxItems": limits.batch}
    upload = {"type": "object", "properties": {"image": several}, "required": ["image"]}
    content = {
        bodies.JSON: {"schema": body.model_json_schema()},
        bodies.PNG: {"schema": file},
        bodies.UPLOAD: {"schema": upload},
    }
    example = np.zeros(predictor.shape, np.uint8)
    return _service(predictor, _InputFormat(content, parse, np.stack, example))


def _texts(predictor: Predictor, limits: Limits) -> Service:
    text = Annotated[str, Field(min_length=1, max_length=limits.characters)]
    body = _body_model("text", text, limits.batch)

    async def parse(request: Request) -> ParsedRequest:
        if bodies.content_type(request) != bodies.JSON:
            raise bodies.unsupported(request, bodies.JSON)
        return ParsedRequest(*_inputs(await bodies.json_body(request, body), "text"))

    content = {bodies.JSON: {"schema": body.model_json_schema()}}
    return _service(predictor, _InputFormat(content, parse, list, "a good one"))


@dataclass(frozen=True, slots=True)
class _InputFormat:
    """The differences between images and texts."""

    content: dict[str, Any]
    parse: Callable[[Request], Any]
    stack: Callable[[list[Any]], Any]
    """Single inputs as one argument of ``Predictor.predict``."""
    example: Any


def _service(predictor: Predictor, format: _InputFormat) -> Service:
    def compute(inputs: list[Any]) -> list[Result]:
        rows = predictor.predict(format.stack(inputs))
        warnings = [predictor.warning(format.stack([given])) for given in inputs]
        return [Result(*pair) for pair in zip(rows, warnings, strict=True)]

    def to_json(results: Sequence[Result], several: bool) -> dict[str, Any]:
        predictions = [_as_json(predictor.classes, result) for result in results]
        return {"predictions": predictions} if several else predictions[0]

    model: dict[str, Any] = {"kind": predictor.kind, "classes": list(predictor.classes)}
    if predictor.kind == "images":
        model["shape"] = list(predictor.shape)
    return Service(
        path=PATH,
        purpose=f"The class of one of the {predictor.kind} that are sent, or of several.",
        model=model,
        content=format.content,
        response_type=Prediction | Predictions,
        parse=format.parse,
        compute=compute,
        to_json=to_json,
        example=format.example,
    )


def _as_json(classes: Sequence[str], result: Result) -> dict[str, Any]:
    row, warning = result
    # Every float32 is a float64 too, and JSON carries all its digits: nothing is rounded.
    probabilities = dict(zip(classes, row.tolist(), strict=True))
    answer = {"label": classes[int(row.argmax())], "probabilities": probabilities}
    return answer if warning is None else answer | {"warning": warning}


def _list_of(item: Any, length: int) -> Any:
    """A list of ``length``. The check ends at the first error: a body can contain a million."""
    return Annotated[list[item], FailFast(), Field(min_length=length, max_length=length)]


def _body_model(name: str, one: Any, most: int) -> type[BaseModel]:
    """The model of a body with one input, ``name``, or with a list of them, ``name`` + "s"."""
    several = Annotated[list[one], FailFast(), Field(min_length=1, max_length=most)]
    exactly_one: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}
    fields: dict[str, Any] = {
        # A factory, because a plain default would appear in the schema as a value to send.
        name: (one, Field(default_factory=list)),
        f"{name}s": (several, Field(default_factory=list)),
    }
    config = ConfigDict(extra="forbid", json_schema_extra=exactly_one)
    return create_model(f"{name.capitalize()}Body", __config__=config, **fields)


def _inputs(body: BaseModel, name: str) -> tuple[list[Any], bool]:
    """The inputs in a body of ``_body_model``, and whether they were sent as a list."""
    if len(body.model_fields_set) != 1:
        raise RequestError(422, f"give either {name} or {name}s", name)
    several = name not in body.model_fields_set
    return (getattr(body, f"{name}s"), True) if several else ([getattr(body, name)], False)
