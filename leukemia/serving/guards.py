"""What every request and answer of the server keeps to, whoever sends it.

A browser on the user's own machine is the usual weapon against a server that listens there: a page
of another site sends requests, or gives its own name this machine's address (DNS rebinding). So a
request must call the server by a name that it goes by, and one that a browser sends from another
site is refused. No answer holds a path or a stack trace, and none may be framed or add scripts.
"""

import asyncio
import logging
import secrets
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN = ("/health", "/ping")  # without the token: for what watches the server
LOCAL = ("localhost", "127.0.0.1", "[::1]")
AT_ONCE = 2  # requests that are read and answered together
IN_LINE, WAITING_S = 32, 10.0  # requests that wait for that, and how long each does
READING_S = 60.0  # for a whole body to come

log = logging.getLogger(__name__)

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Whom the server answers.

    hosts: names it may be called by, `*` for any part. token: that a request must have, "" for
    none. most_bytes: of a request's body.
    """

    hosts: Sequence[str]
    token: str
    most_bytes: int


def guarded(app: FastAPI, terms: Terms) -> FastAPI:
    """The same server, which keeps to the terms."""
    line = _Line()

    @app.middleware("http")
    async def keep(request: Request, go_on: Next) -> Response:
        """Every request goes through here, and every answer."""
        answer = _refusal(request, terms)
        if answer is None:
            answer = await _answered(request, go_on, line)
        answer.headers.update(HEADERS)
        return answer

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        return refused(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def of_form(request: Request, error: RequestValidationError) -> Response:
        what = ", ".join(str(each["loc"][-1])[:50] for each in error.errors()[:3])
        return refused(400, f"the request is not as expected ({what}); see the README's examples")

    return app


def refused(status: int, text: str, headers: object = None) -> JSONResponse:
    """A line that says what was wrong; `message` is where MLflow's clients look for it."""
    content = {"error": text, "error_code": "INVALID_PARAMETER_VALUE", "message": text}
    return JSONResponse(content, status, headers if isinstance(headers, dict) else None)


def busy(text: str, seconds: int) -> JSONResponse:
    """A 503 that says when to ask again."""
    answer = refused(503, text)
    answer.headers["Retry-After"] = str(seconds)
    return answer


class _Line:
    """Requests with a body, of which few are worked on and not many may wait."""

    def __init__(self) -> None:
        self._free, self._waiting = asyncio.Semaphore(AT_ONCE), 0

    async def enter(self) -> bool:
        """Whether the request's turn has come; else there are too many before it."""
        if self._waiting >= IN_LINE:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(WAITING_S):
                await self._free.acquire()
                return True
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Its work is done."""
        self._free.release()


async def _answered(request: Request, go_on: Next, line: _Line) -> Response:
    try:
        if request.method != "POST":
            return await go_on(request)
        if not await line.enter():
            return busy("the server has too much to do: ask again in a few seconds", 5)
        try:
            return await go_on(request)
        finally:
            line.leave()
    except TimeoutError:
        return refused(408, f"the request did not come within {READING_S:.0f} s")
    except ClientDisconnect:
        return refused(400, "the request was cut off")
    except Exception:  # the client learns nothing of the inside
        log.exception("%s %s", request.method, request.url.path)
        return refused(500, "the server made a mistake; its log says more")


def _refusal(request: Request, terms: Terms) -> Response | None:
    """Why a request is not answered, before anything of its body is read."""
    host = request.headers.get("host", "")
    name = _name_of(f"//{host}") if _plain(host) else ""
    if not name or not any(_is_called(each, name, host) for each in terms.hosts):
        return refused(403, "the server does not go by this name; name it with allowed_hosts")
    if not _same_origin(request, host):
        return refused(403, "a page of another site may not ask this server")
    if terms.token and request.url.path not in OPEN and not _has(request, terms.token):
        answer = refused(401, "give the server's token: Authorization: Bearer TOKEN")
        # A browser asks for name and password then: any name, and the token.
        answer.headers["WWW-Authenticate"] = 'Basic realm="any name, and the token as password"'
        return answer
    return _of_length(request, terms.most_bytes)


def _name_of(address: str) -> str:
    """The host that an address names, "" where it is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets that no address has
        return ""


def _plain(host: str) -> bool:
    return bool(host) and not set(host) & set("/\\@?#, \t")


def _is_called(pattern: str, name: str, host: str) -> bool:
    return any(fnmatch(each.lower(), pattern.lower()) for each in (name, f"[{name}]", host))


def _same_origin(request: Request, host: str) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        # A link on another page may open this one: that is for the user to see, nobody else.
        opens = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        return opens and request.headers.get("sec-fetch-dest") == "document"
    origin = request.headers.get("origin")
    return origin is None or origin in (f"http://{host}", f"https://{host}")


def _has(request: Request, token: str) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    elif kind.lower() != "bearer":
        return False
    return secrets.compare_digest(given.encode(), token.encode())


def _of_length(request: Request, most: int) -> Response | None:
    """A body that is too large is refused before it is read."""
    if request.method != "POST":
        return None
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        return refused(411, "the request does not say how long it is: send Content-Length")
    if int(length) > most:
        return refused(413, f"{length} bytes came: send at most {most} at once")
    return None
