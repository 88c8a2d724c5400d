"""What strangers send, read with care: JSON, PNG, multipart uploads."""

import json
from itertools import takewhile
from typing import TypeVar

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from workers.terminal import png

JSON, PNG, UPLOAD = "application/json", "image/png", "multipart/form-data"

MOST_MISTAKES = 50
"""That a list is made of: a stranger may make a hundred thousand, to keep the server busy."""

Body = TypeVar("Body", bound=BaseModel)


class Refused(Exception):
    """A request that cannot be answered, and what would be right."""

    def __init__(self, status: int, error: str, field: str | None = None):
        super().__init__(error)
        self.status, self.error, self.field = status, error, field


def refusal(
    status: int, error: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """An error as all of them look."""
    # In ASCII: what a stranger sent and is named here need not be valid Unicode.
    body = json.dumps({"error": error, "field": field})
    return Response(body, status, headers, media_type=JSON)


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, *supported: str) -> Refused:
    """415: the body is something else than ``supported``."""
    sent = content_type(request) or "no content type"
    return Refused(415, f"{sent[:100]}: send {' or '.join(supported)}", "content-type")


async def json_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body, checked; ``Refused`` with the first thing that is wrong with it."""
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise _explained(error) from None


def _explained(error: ValidationError) -> Refused:
    if error.error_count() > MOST_MISTAKES:
        return Refused(422, f"{error.error_count()} mistakes: /openapi.json says what is asked for")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Refused(400, found[0]["msg"])
    # Where several types are possible, there is a complaint on behalf of each of them.
    same = [each for each in found if each["loc"][:1] == found[0]["loc"][:1]]
    levels = zip(*(each["loc"] for each in same), strict=False)
    field = ".".join(str(parts[0]) for parts in takewhile(_equal, levels))
    messages = dict.fromkeys(each["msg"] for each in same)
    return Refused(422, ", or ".join(messages), field[:100] or None)


def _equal(parts: tuple[int | str, ...]) -> bool:
    return len(set(parts)) == 1


async def uploads(request: Request, field: str, most: int) -> list[bytes]:
    """The files of a multipart body, all of them named ``field``."""
    try:
        async with request.form(max_files=most, max_fields=0) as form:
            files = [(name, file) for name, file in form.multi_items()]
            if not files or any(name != field for name, _ in files):
                raise Refused(422, f"upload one file or more, each as {field!r}", field)
            return [await file.read() for _, file in files if isinstance(file, UploadFile)]
    except (HTTPException, Refused):
        raise
    except Exception as error:  # whatever a parser may stumble over in a stranger's bytes
        raise Refused(400, f"not a multipart body: {type(error).__name__}") from None


def picture(data: bytes, height: int, width: int, field: str) -> NDArray[np.uint8]:
    """A PNG as grey levels ``[height, width]``; ``Refused`` where it is anything else."""
    try:
        return png.read(data, height, width)
    except ValueError as error:
        raise Refused(422, str(error), field) from None
