"""Parse request bodies that clients send: JSON, PNG, multipart uploads. None of it is trusted."""

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

MAX_LISTED_ERRORS = 50
"""Errors of one body that are examined. A body can contain a hundred thousand, and listing them
would keep the server busy."""

Body = TypeVar("Body", bound=BaseModel)


class RequestError(Exception):
    """A request that cannot be answered: the HTTP status, one sentence, and the field at fault."""

    def __init__(self, status: int, error: str, field: str | None = None):
        super().__init__(error)
        self.status, self.error, self.field = status, error, field


def error_response(
    status: int, error: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """The response for an error; all errors have this form."""
    # ASCII only: a name that a client sent, quoted in the message, may be invalid Unicode.
    body = json.dumps({"error": error, "field": field})
    return Response(body, status, headers, media_type=JSON)


def content_type(request: Request) -> str:
    """The content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, *supported: str) -> RequestError:
    """The error 415 for a body whose content type is none of ``supported``."""
    sent = content_type(request) or "no content type"
    return RequestError(415, f"{sent[:100]}: send {' or '.join(supported)}", "content-type")


async def json_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body as a ``kind``; ``RequestError`` with the first error in it."""
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise _first_error(error) from None


def _first_error(error: ValidationError) -> RequestError:
    if error.error_count() > MAX_LISTED_ERRORS:
        return RequestError(
            422, f"{error.error_count()} errors: /openapi.json describes a valid request"
        )
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return RequestError(400, errors[0]["msg"])
    # A field with several possible types has one error for each of them: name the part of the
    # location that they share, and join their messages.
    same = [other for other in errors if other["loc"][:1] == errors[0]["loc"][:1]]
    levels = zip(*(other["loc"] for other in same), strict=False)
    field = ".".join(str(parts[0]) for parts in takewhile(_all_equal, levels))
    messages = dict.fromkeys(other["msg"] for other in same)
    return RequestError(422, ", or ".join(messages), field[:100] or None)


def _all_equal(parts: tuple[int | str, ...]) -> bool:
    return len(set(parts)) == 1


async def uploads(request: Request, field: str, most: int) -> list[bytes]:
    """The files of a multipart body, at most ``most``, all of them named ``field``."""
    try:
        async with request.form(max_files=most, max_fields=0) as form:
            files = [(name, file) for name, file in form.multi_items()]
            if not files or any(name != field for name, _ in files):
                raise RequestError(422, f"upload one file or more, each as {field!r}", field)
            return [await file.read() for _, file in files if isinstance(file, UploadFile)]
    except (HTTPException, RequestError):
        raise
    except Exception as error:  # parsers raise many kinds for bytes that are no multipart body
        raise RequestError(400, f"not a multipart body: {type(error).__name__}") from None


def picture(data: bytes, height: int, width: int, field: str) -> NDArray[np.uint8]:
    """A PNG as grey levels ``[height, width]``; ``RequestError`` for any other bytes."""
    try:
        return png.read(data, height, width)
    except ValueError as error:
        raise RequestError(422, str(error), field) from None
