"""MLflow's own scoring server around a registered classifier that takes encoded images.

`POST /invocations` is MLflow's: JSON with a column `image` of base64. `POST /cells` takes files as
a browser or curl sends them. Both answer probability, label, threshold, version and protocol. `/`
is a page to drop cells on.
"""

from base64 import b64encode
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from markdown_it import MarkdownIt
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.types import ColSpec, DataType, Schema
from starlette.concurrency import run_in_threadpool

from leukemia import RESEARCH_ONLY
from leukemia.errors import UserError
from leukemia.serving.answers import MOST_BYTES, Following, png

IMAGE = "image"  # the column of encoded images
PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Refused(MlflowException):
    """A bad image: a 400 with one line. MLflow would put the images themselves before it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "message" or "message" not in self.__dict__:
            super().__setattr__(name, value)


class Images:
    """The pyfunc: a table with a column of encoded images to a table of answers."""

    def __init__(self, following: Following):
        self._following = following

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row for each image.

        Raises:
            Refused: one is no image of a cell.
        """
        try:
            return pd.DataFrame(answers(self._following, list(table[IMAGE])))
        except UserError as error:
            raise Refused(str(error), INVALID_PARAMETER_VALUE) from None


def answers(
    following: Following, files: list[bytes], names: list[str] | None = None, pictures: str = "none"
) -> list[dict[str, Any]]:
    """As plain values, each with what it may be used for.

    pictures: `seen` adds what the classifier saw of each image, `heat` also where it looked, as
    data URLs of PNG files.
    """
    now = following.current()
    cells = now.cells(files, names or ())
    values = [{**asdict(answer), "use": RESEARCH_ONLY} for answer in now.answer(cells)]
    if pictures != "none":
        for answer, cell in zip(values, cells, strict=True):
            answer["seen"] = _data_url(png(cell))
    if pictures == "heat":
        for answer, overlay in zip(values, now.grad_cam(cells), strict=True):
            answer["heat"] = _data_url(overlay)
    return values


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"


def app(following: Following) -> FastAPI:
    """The server's routes; the classifier is loaded when it begins."""
    following.current()
    signature = ModelSignature(Schema([ColSpec(DataType.binary, IMAGE)]))
    model = PyFuncModel(Model(signature=signature), Images(following))
    served: FastAPI = scoring_server.init(model)

    @served.middleware("http")
    async def small(request: Request, go_on: Any) -> Any:
        """A body that is too large is refused before it is read."""
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not length.isdigit():
            return _refused(411, "the request does not say how long it is: send Content-Length")
        if length.isdigit() and int(length) > MOST_BYTES:
            return _refused(413, f"{length} bytes came: send at most {MOST_BYTES} at once")
        return await go_on(request)

    @served.post("/cells")
    async def cells(
        files: list[UploadFile], pictures: Literal["none", "seen", "heat"] = "none"
    ) -> Any:
        """Answers about uploaded image files, in their order."""
        contents = [await file.read() for file in files]
        names = [file.filename or f"image {n}" for n, file in enumerate(files, 1)]
        try:
            return await run_in_threadpool(answers, following, contents, names, pictures)
        except UserError as error:
            return _refused(400, str(error))

    @served.get("/about")
    def about() -> dict[str, Any]:
        """The version that answers now, with its card as HTML."""
        now = following.current().served
        return {
            "name": now.name,
            "version": now.version,
            "positive": now.positive,
            "negative": now.negative,
            "threshold": now.threshold,
            "protocol": now.protocol,
            "use": RESEARCH_ONLY,
            "card": MarkdownIt("js-default").render(now.card),
        }

    @served.get("/")
    @served.get("/page.css")
    @served.get("/page.js")
    def page(request: Request) -> FileResponse:
        """The page for people, which asks no other server for anything."""
        name = request.url.path.removeprefix("/") or "index.html"
        return FileResponse(PAGE / name, headers=HEADERS)

    return served


def _refused(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
