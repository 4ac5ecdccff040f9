"""The recording and the options in a request: a form with a file, or the recording as the body."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ser.serving.schemas import PredictOptions

FORM = "multipart/form-data"
RAW = ("", "application/octet-stream")  # beside audio/*
SPOOL = 2**20  # bytes of a recording that are held in memory; more goes to a temporary file
FIELD_BYTES = 1000  # of a form field that is not a file
HOW = "send the recording as the form field 'file', or as the body with Content-Type audio/*"


@dataclass(frozen=True)
class Upload:
    """An open recording, and the form fields beside it."""

    file: BinaryIO
    fields: Mapping[str, str] = field(default_factory=dict)

    def merge(self, query: PredictOptions) -> PredictOptions:
        """The options of the query and of the form; raises HTTPException 422 for bad fields."""
        given = query.model_dump(exclude_unset=True)
        twice = sorted(given.keys() & self.fields.keys())
        if twice:
            raise HTTPException(422, f"{twice[0]}: given in the query and in the form")
        try:
            return PredictOptions.model_validate(given | dict(self.fields))
        except ValidationError as error:
            raise HTTPException(422, describe(error.errors(), skip=0)) from error


def describe(errors: Any, skip: int = 1) -> str:
    """The errors of a validation by pydantic in one line; `skip` drops the place ("query")."""
    words = []
    for each in errors:
        problem = "there is no such option" if each["type"] == "extra_forbidden" else each["msg"]
        words.append(": ".join(filter(None, (".".join(map(str, each["loc"][skip:])), problem))))
    return "; ".join(words)


@asynccontextmanager
async def receive_upload(request: Request) -> AsyncIterator[Upload]:
    """The upload of a request, open within the block.

    Raises HTTPException 400 for a malformed form, 415 for another media type, and 422 without a
    recording.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        async with receive_form(request) as upload:
            yield upload
    elif kind in RAW or kind.startswith("audio/"):
        with tempfile.SpooledTemporaryFile(SPOOL) as file:
            async for chunk in request.stream():
                file.write(chunk)
            if not file.tell():
                raise HTTPException(422, f"the request body is empty; {HOW}")
            file.seek(0)
            yield Upload(cast(BinaryIO, file))
    else:
        raise HTTPException(415, f"Content-Type {kind!r} is not supported; {HOW}")


@asynccontextmanager
async def receive_form(request: Request) -> AsyncIterator[Upload]:
    names = list(PredictOptions.model_fields)
    try:
        form = await request.form(max_files=1, max_fields=len(names), max_part_size=FIELD_BYTES)
    except (HTTPException, LookupError) as error:  # LookupError for an unknown charset
        if isinstance(error, HTTPException) and error.status_code != 400:  # of the body
            raise
        reason = error.detail if isinstance(error, HTTPException) else str(error)
        message = f"the form cannot be read: {reason.rstrip('.')}"
        fields = ", ".join(names)
        raise HTTPException(400, f"{message}; send one file as 'file', and {fields}") from error
    try:
        files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        if "file" not in files:
            raise HTTPException(422, f"file: missing in the form; {HOW}")
        fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        if len(dict(fields)) < len(fields):
            raise HTTPException(422, "a form field is given twice")
        yield Upload(cast(BinaryIO, files["file"].file), dict(fields))
    finally:
        await form.close()


def body_schema() -> dict[str, Any]:
    """The request body for the API documentation: a form or a recording."""
    recording = {"type": "string", "format": "binary", "description": "A recording."}
    options = PredictOptions.model_json_schema()["properties"]
    form = {
        "type": "object",
        "properties": {"file": recording, **options},
        "required": ["file"],
        "additionalProperties": False,
    }
    content = {FORM: {"schema": form}}
    for kind in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream"):
        content[kind] = {"schema": recording}
    return {"requestBody": {"required": True, "content": content}}
