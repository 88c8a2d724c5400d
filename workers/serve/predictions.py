"""Classification behind HTTP: what ``/predict`` reads, asks the network and answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, create_model

from workers.serve import bodies
from workers.serve.bodies import Refused
from workers.serve.limits import Limits
from workers.serve.service import Asked, Service

PATH = "/predict"


class Predictor(Protocol):
    """A trained model that answers; ``alphazero.supervised.model`` has the one that is served."""

    @property
    def kind(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def predict(self, inputs: Any) -> NDArray[np.float32]: ...


class Prediction(BaseModel):
    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Of each class."""


class Predictions(BaseModel):
    predictions: list[Prediction]
    """In the order of the inputs."""


def service(predictor: Predictor, limits: Limits) -> Service:
    """What answers ``/predict`` with ``predictor``."""
    return (_images if predictor.kind == "images" else _texts)(predictor, limits)


def _images(predictor: Predictor, limits: Limits) -> Service:
    _, height, width = predictor.shape
    pixel = Annotated[int, Field(strict=True, ge=0, le=255)]
    body = _one_or_several("image", _list_of(_list_of(pixel, width), height), limits.batch)

    async def read(request: Request) -> Asked:
        kind = bodies.content_type(request)
        if kind == bodies.JSON:
            grids, several = _given(await bodies.json_body(request, body), "image")
            return Asked([np.array(grid, np.uint8)[None] for grid in grids], several)
        if kind == bodies.PNG:
            files = [await request.body()]
        elif kind == bodies.UPLOAD:
            files = await bodies.uploads(request, "image", limits.batch)
        else:
            raise bodies.unsupported(request, bodies.JSON, bodies.PNG, bodies.UPLOAD)
        pictures = [bodies.picture(file, height, width, "image")[None] for file in files]
        return Asked(pictures, len(files) > 1)

    file = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": file, "minItems": 1, "maxItems": limits.batch}
    upload = {"type": "object", "properties": {"image": several}, "required": ["image"]}
    content = {
        bodies.JSON: {"schema": body.model_json_schema()},
        bodies.PNG: {"schema": file},
        bodies.UPLOAD: {"schema": upload},
    }
    example = np.zeros(predictor.shape, np.uint8)
    return _service(predictor, _Reading(content, read, np.stack, example))


def _texts(predictor: Predictor, limits: Limits) -> Service:
    text = Annotated[str, Field(min_length=1, max_length=limits.characters)]
    body = _one_or_several("text", text, limits.batch)

    async def read(request: Request) -> Asked:
        if bodies.content_type(request) != bodies.JSON:
            raise bodies.unsupported(request, bodies.JSON)
        return Asked(*_given(await bodies.json_body(request, body), "text"))

    content = {bodies.JSON: {"schema": body.model_json_schema()}}
    return _service(predictor, _Reading(content, read, list, "a good one"))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What images and texts differ in."""

    content: dict[str, Any]
    read: Callable[[Request], Any]
    together: Callable[[list[Any]], Any]
    """Of single inputs what the predictor takes."""
    example: Any


def _service(predictor: Predictor, reading: _Reading) -> Service:
    def show(rows: Sequence[NDArray[np.float32]], several: bool) -> dict[str, Any]:
        shown = [_shown(predictor.classes, row) for row in rows]
        return {"predictions": shown} if several else shown[0]

    about: dict[str, Any] = {"kind": predictor.kind, "classes": list(predictor.classes)}
    if predictor.kind == "images":
        about["shape"] = list(predictor.shape)
    return Service(
        path=PATH,
        purpose=f"The class of one of the {predictor.kind} that are sent, or of several.",
        about=about,
        content=reading.content,
        answer=Prediction | Predictions,
        read=reading.read,
        compute=lambda items: list(predictor.predict(reading.together(items))),
        show=show,
        example=reading.example,
    )


def _shown(classes: Sequence[str], row: NDArray[np.float32]) -> dict[str, Any]:
    # A float32 is a float64 as well, and JSON has all of its digits: nothing is rounded.
    probabilities = dict(zip(classes, row.tolist(), strict=True))
    return {"label": classes[int(row.argmax())], "probabilities": probabilities}


def _list_of(item: Any, length: int) -> Any:
    """The first mistake ends the check: a stranger may make a million."""
    return Annotated[list[item], FailFast(), Field(min_length=length, max_length=length)]


def _one_or_several(name: str, one: Any, most: int) -> type[BaseModel]:
    """A body with one ``name``, or with several, ``name`` + s; ``_given`` reads it."""
    several = Annotated[list[one], FailFast(), Field(min_length=1, max_length=most)]
    exactly_one: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}
    fields: dict[str, Any] = {
        # Without a default that would stand in the schema: nobody may send it.
        name: (one, Field(default_factory=list)),
        f"{name}s": (several, Field(default_factory=list)),
    }
    config = ConfigDict(extra="forbid", json_schema_extra=exactly_one)
    return create_model(f"{name.capitalize()}Body", __config__=config, **fields)


def _given(body: BaseModel, name: str) -> tuple[list[Any], bool]:
    """What was sent, as a list, and whether it was sent as one."""
    if len(body.model_fields_set) != 1:
        raise Refused(422, f"give either {name} or {name}s", name)
    several = name not in body.model_fields_set
    return (getattr(body, f"{name}s"), True) if several else ([getattr(body, name)], False)
