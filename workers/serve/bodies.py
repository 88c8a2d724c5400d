"""What strangers send, read with care: JSON, PNG, multipart uploads."""

import io
import json
import struct
from collections.abc import Iterator
from itertools import takewhile
from typing import TypeVar

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

JSON, PNG, UPLOAD = "application/json", "image/png", "multipart/form-data"

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, COLOUR, PALETTE = 0, 2, 3
PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
"""The chunks that pixels are made of."""
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
    """A PNG as gray levels ``[height, width]``; ``Refused`` where it is anything else.

    Its size is checked before a pixel is unpacked, and chunks that make no pixels are left out:
    they may hold packed text of any size.
    """
    try:
        chunks = list(_chunks(data))
        (name, header), *others = chunks
        found_width, found_height, depth, colour = struct.unpack(">IIBB3x", header[8:-4])
    except (struct.error, ValueError):
        raise Refused(422, "not a PNG, or one that is cut off", field) from None
    if (found_height, found_width) != (height, width):
        raise Refused(
            422, f"the PNG is {found_width} x {found_height}, this model takes {width} x {height}",
            field,
        )  # fmt: skip
    names = [other for other, _ in others]
    if depth > 8 or colour not in (GRAY, COLOUR, PALETTE) or b"tRNS" in names:
        raise Refused(422, "send a PNG of at most 8 bits a channel, without transparency", field)
    if name != b"IHDR" or b"IHDR" in names:  # a second one would announce another size
        raise Refused(422, "a PNG has one header, at its beginning", field)
    kept = b"".join(chunk for name, chunk in chunks if name in PIXELS)
    return _unpacked(PNG_SIGNATURE + kept, field)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk, the last one included; ``ValueError``: there is none."""
    place, name = len(PNG_SIGNATURE), b""
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError("not a PNG")
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise ValueError("cut off")
        yield name, data[place:end]
        place = end


def _unpacked(data: bytes, field: str) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow has many kinds for a damaged file
        raise Refused(422, f"a PNG that cannot be read: {error}"[:200], field) from None
