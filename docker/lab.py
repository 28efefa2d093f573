"""The lab's MLflow server: MLflow's own with log-in, but that /health tells of each part.

MLflow's says OK for as long as it answers at all. This one says, to whoever asks and without
log-in, which of database, store and server answers: 200 if all do, else 503. It names parts, never
where they are or what they said. MLflow finds this by lab-0.dist-info, beside it.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

PROBE_S = 2  # for a part to answer
FRESH_S = 1.0  # an answer counts for so long: who asks often costs the parts nothing
OK, SILENT = "ok", "does not answer"
Health = tuple[dict[str, str], int]  # a word for each part, and the status


class Chain:
    """What the parts said last; asked again by one request at a time, whoever else comes."""

    def __init__(self, parts: dict[str, Callable[[], object]]) -> None:
        self._parts, self._asking = parts, threading.Lock()
        self._told: Health | None = None
        self._asked = 0.0

    def health(self) -> Health:
        """Each part's word, and the status: 200 where all answer."""
        if self._asking.acquire(blocking=self._told is None):
            try:
                if self._told is None or time.monotonic() - self._asked > FRESH_S:
                    self._told = self._ask()
            finally:
                self._asking.release()
        assert self._told
        return self._told

    def _ask(self) -> Health:
        told = {"server": OK} | {name: _word(ask) for name, ask in self._parts.items()}
        self._asked = time.monotonic()
        return told, 200 if set(told.values()) == {OK} else 503


def create_app() -> "FastAPI":
    """MLflow's app with log-in, and this /health before its own."""
    from anyio import CapacityLimiter, to_thread
    from fastapi.responses import JSONResponse
    from mlflow.server import auth

    chain = Chain({"database": _database, "store": _store})
    threads = CapacityLimiter(8)  # of its own: who asks waits for no other request

    async def health() -> JSONResponse:
        told, status = await to_thread.run_sync(chain.health, limiter=threads)
        return JSONResponse(told, status)

    app = auth.create_app()
    app.add_api_route("/health", health)
    app.router.routes.insert(0, app.router.routes.pop())
    return app


def _word(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Exception:  # whatever it is: it does not answer as it should
        return SILENT
    return OK


def _database() -> None:
    import psycopg

    place = os.environ["DATABASE_URI"].replace("+psycopg", "", 1)
    limit = f"-c statement_timeout={PROBE_S * 1000}"
    with psycopg.connect(place, connect_timeout=PROBE_S, options=limit) as connection:
        connection.execute("select 1")


def _store() -> None:
    _client().head_bucket(Bucket=os.environ["BUCKET"])


@cache
def _client() -> Any:
    import boto3
    from botocore.config import Config

    once = Config(connect_timeout=PROBE_S, read_timeout=PROBE_S, retries={"total_max_attempts": 1})
    place = os.environ["MLFLOW_S3_ENDPOINT_URL"]
    return boto3.client("s3", endpoint_url=place, config=once)
