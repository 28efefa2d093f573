"""Calls of the tracking store that outlast its absences, told of in one line each."""

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import mlflow
import requests
from mlflow.tracking._tracking_service.utils import get_default_host_creds

from leukemia.errors import first_line

PAUSES_S = (1.0, 2.0, 5.0, 10.0)  # between two tries; the last again and again
PROBE_S = 5  # that a server has to answer whether it is there
FRESH_S = 10.0  # that an answer proves it

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
# What MLflow's errors say where the store is away, full or held by another, not where it refuses.
AWAY = re.compile(
    r"failed with exception|Max retries|Connection|timed out|database is locked|"
    r"database or disk is full|unable to open database|disk I/O error|could not connect|"
    r"No space left|too many 50[234]|error code 50[234]|server closed the connection",
    re.IGNORECASE,
)


class Patience:
    """Calls until the store answers, and says in one line when it is away and when it is back."""

    def __init__(self, meanwhile: str, ended: threading.Event | None = None):
        """meanwhile: what goes on while it is away, for the line. ended: no more tries once set."""
        self._meanwhile, self._ended = meanwhile, ended or threading.Event()
        self._since: float | None = None
        self._answered = 0.0

    @property
    def away_s(self) -> float:
        """For how many seconds it has been away; 0 where it is there."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def __call__(self, call: Callable[[], _Result]) -> _Result:
        """What the call returns, once it does.

        Raises:
            Exception: what the call raised, where the store refuses it or no more tries are due.
        """
        tries = 0
        while True:
            try:
                self._probe()
                result = call()
            except Exception as error:
                if not is_away(error) or self._ended.is_set():
                    raise
                self._miss(error)
            else:
                self._greet()
                return result
            if self._ended.wait(PAUSES_S[min(tries, len(PAUSES_S) - 1)]):
                continue  # once more, and then no more
            tries += 1

    def _probe(self) -> None:
        """Ask a server first whether it is there: a call itself may hang for minutes."""
        store = mlflow.get_tracking_uri()
        if store.startswith("http") and time.monotonic() - self._answered > FRESH_S:
            answer = asked(store, PROBE_S)
            if answer.status_code >= 500:
                raise requests.ConnectionError(f"it answers {answer.status_code}")

    def _miss(self, error: Exception) -> None:
        if self._since is None:
            self._since = time.monotonic()
            log.warning(
                "%s away since %s (%s); %s",
                named(), time.strftime("%H:%M:%S"), _short(error), self._meanwhile,
            )  # fmt: skip

    def _greet(self) -> None:
        self._answered = time.monotonic()
        if self._since is not None:
            log.warning("%s is back after %.0f s", named(), self.away_s)
            self._since = None


def is_away(error: BaseException) -> bool:
    """Whether an error says that the store cannot be had just now, rather than that it refuses."""
    if isinstance(error, requests.RequestException | ConnectionError | TimeoutError):
        return True
    if isinstance(error, mlflow.MlflowException):
        code = error.get_http_status_code()
        return bool(AWAY.search(str(error))) or code in (429, 502, 503, 504)
    return isinstance(error, OSError) and bool(AWAY.search(str(error)))


def named() -> str:
    """The store, for people: a server's address without the secrets that may stand in it."""
    store = mlflow.get_tracking_uri()
    kind = "tracking server" if store.startswith("http") else "tracking store"
    return f"{kind} {without_secrets(store)}"


def asked(server: str, seconds: float) -> requests.Response:
    """What a server says when it is asked whether it is there, as MLflow itself would ask it: with
    the certificates that it was told to trust or to show.

    Raises:
        requests.RequestException: it does not answer.
    """
    known = get_default_host_creds(server)
    return requests.head(server, timeout=seconds, verify=known.verify, cert=known.client_cert_path)


def without_secrets(store: str) -> str:
    """A store's address without the name and password that may stand in it, also where they have an
    @ or a / as it is."""
    return re.sub(r"(?<=://)([^/]*@(?=[^/@]+(/|$))|[^/@:]+:(?!\d*/)[^/]*/.*@)", "", store)


def _short(error: Exception) -> str:
    line = first_line(error)
    for words in ("Connection refused", "timed out", "database is locked", "disk is full"):
        if words in line:
            return words
    return line[:200]
