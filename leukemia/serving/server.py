"""A registered classifier answers over HTTP about encoded images.

`POST /cells` takes files as a browser or curl sends them, `POST /invocations` what MLflow's
clients send: JSON with a column `image` of base64. Both answer probability, label, threshold,
version and protocol. `/` is a page to drop cells on, `/health` for what watches the server.
"""

import asyncio
import io
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from json import loads
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from markdown_it import MarkdownIt
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from leukemia import RESEARCH_ONLY
from leukemia.errors import UserError
from leukemia.registry.process import Ended
from leukemia.serving.answers import MOST_BYTES, MOST_CELLS, Following, png
from leukemia.serving.guards import LOCAL, READING_S, Terms, busy, guarded, refused

IMAGE = "image"  # the column of encoded images
PAGE = Path(__file__).parent / "page"
PICTURES = ("none", "seen", "heat")
MOST_JSON = 16 * 2**20  # bytes: base64 is held three times while it is read
MOST_MARKS = 4 * MOST_CELLS + 64  # of JSON's own, which no base64 has
LONGEST_NAME = 200  # characters of a file's name that an answer repeats


def answers(
    following: Following,
    files: Sequence[BinaryIO],
    names: Sequence[str],
    pictures: str = "none",
) -> list[dict[str, Any]]:
    """As plain values, each with what it may be used for; of a file that is no image of a cell, in
    its place, why not, as `error`.

    pictures: `seen` adds what the classifier saw of each image, `heat` also where it looked, as
    data URLs of PNG files.
    """
    now = following.current()
    cells, faults = now.cells(files, names)
    try:
        values = [{**asdict(answer), "use": RESEARCH_ONLY} for answer in now.answer(cells)]
        heat = now.grad_cam(cells) if pictures == "heat" else []
    except Ended:
        following.gone(now)
        raise
    if pictures != "none":
        for answer, cell in zip(values, cells, strict=True):
            answer["seen"] = _data_url(png(cell))
    for answer, overlay in zip(values, heat, strict=False):
        answer["heat"] = _data_url(overlay)
    good = iter(values)
    return [
        {"error": faults[number], "use": RESEARCH_ONLY} if number in faults else next(good)
        for number in range(len(files))
    ]


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"


def app(following: Following, hosts: Sequence[str] = LOCAL, token: str = "") -> FastAPI:
    """The server's routes; the classifier is loaded when it begins.

    hosts: names that the server may be called by. token: that a request must have, "" for none.
    """
    following.current()
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @served.post("/cells")
    async def cells(request: Request, pictures: str = "none") -> Response:
        """Answers about uploaded image files, in their order."""
        if pictures not in PICTURES:
            return refused(400, f"pictures is {pictures[:50]!r}: give {', '.join(PICTURES)}")
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return refused(415, "send the files as multipart/form-data, in fields `files`")
        async with asyncio.timeout(READING_S):
            form = await request.form(max_fields=8)
        try:
            uploads = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
            names = [_name(each.filename, n) for n, each in enumerate(uploads, 1)]
            return await _told(following, [each.file for each in uploads], names, pictures)
        finally:
            await form.close()

    @served.post("/invocations")
    async def invocations(request: Request) -> Response:
        """As MLflow's own scoring server answers."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return refused(415, "send JSON, or files to /cells")
        if int(request.headers["content-length"]) > MOST_JSON:
            return refused(413, f"send at most {MOST_JSON} bytes of JSON, or the files to /cells")
        async with asyncio.timeout(READING_S):
            body = await request.body()
        try:
            files = _images_of(body)
        except UserError as error:
            return refused(400, str(error))
        del body
        names = [_name("", number) for number in range(1, len(files) + 1)]
        answer = await _told(following, files, names, "none")
        if answer.status_code != 200:
            return answer
        whole = b'{"predictions": ' + bytes(answer.body) + b"}"
        return Response(whole, media_type="application/json")

    @served.get("/health")
    @served.get("/ping")
    def health() -> JSONResponse:
        """Which version answers; 503 where none does."""
        told = following.health()
        return JSONResponse(told, 503 if told["status"] == "down" else 200)

    @served.get("/version")
    def mlflow_version() -> Response:
        """Of MLflow, as its own scoring server says it."""
        return Response(version("mlflow"), media_type="text/plain")

    @served.get("/about")
    def about() -> dict[str, Any]:
        """The version that answers now, with its card as HTML."""
        now = following.current().served
        told = ("name", "version", "positive", "negative", "threshold", "protocol")
        card = MarkdownIt("js-default").disable("image").render(now.card)
        return {**{name: getattr(now, name) for name in told}, "use": RESEARCH_ONLY, "card": card}

    @served.get("/")
    @served.get("/page.css")
    @served.get("/page.js")
    def page(request: Request) -> FileResponse:
        """The page for people, which asks no other server for anything."""
        return FileResponse(PAGE / (request.url.path.removeprefix("/") or "index.html"))

    return guarded(served, Terms(hosts=hosts, token=token, most_bytes=MOST_BYTES))


async def _told(
    following: Following, files: Sequence[BinaryIO], names: Sequence[str], pictures: str
) -> JSONResponse:
    try:
        return JSONResponse(await run_in_threadpool(answers, following, files, names, pictures))
    except UserError as error:
        return refused(400, str(error))
    except Ended:
        return busy("the classifier is being started again: ask again in a minute", 30)


def _name(given: str | None, number: int) -> str:
    """What an upload calls itself, as one line of plain characters."""
    plain = "".join(each for each in given or "" if each.isprintable())[:LONGEST_NAME]
    return plain or f"image {number}"


def _images_of(body: bytes) -> list[BinaryIO]:
    """The images of MLflow's JSON: `dataframe_split`, `dataframe_records`, `instances`, `inputs`.

    Raises:
        UserError: it is no such JSON, or holds more than images.
    """
    if sum(map(body.count, (b"[", b"{", b",", b":"))) > MOST_MARKS:
        raise UserError(
            f"this JSON holds more than {MOST_CELLS} images in a column {IMAGE!r}: send that alone"
        )
    try:
        given = loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"no JSON came ({type(error).__name__}): see the README's example"
        ) from None
    match given:
        case {"dataframe_split": {"columns": [str(column)], "data": list(rows)}} if column == IMAGE:
            values = [row[0] if isinstance(row, list) and len(row) == 1 else None for row in rows]
        case {"dataframe_records": list(rows)} | {"instances": list(rows)}:
            values = [row.get(IMAGE) if isinstance(row, dict) else None for row in rows]
        case {"inputs": {"image": list(rows)}}:
            values = rows
        case _:
            raise UserError(f"the JSON has no column {IMAGE!r} alone: see the README's example")
    return [_decoded(value, number) for number, value in enumerate(values, 1)]


def _decoded(value: object, number: int) -> BinaryIO:
    try:
        # What is no text becomes an empty text, which is no image either.
        return io.BytesIO(b64decode(value if isinstance(value, str) else "", validate=True))
    except ValueError:
        raise UserError(f"image {number}: no base64 of an image file") from None
