"""Answer about images over HTTP with a registered model, following its alias.

POST image files to /cells, or MLflow's JSON to /invocations. Beyond this machine every request
needs the token in the environment variable LEUKEMIA_SERVE_TOKEN. Research use only; not for
diagnosis.
"""

import os
from ipaddress import ip_address

import click

from . import console
from .command import CHAMPION, Command, option, quietly

TOKEN = "LEUKEMIA_SERVE_TOKEN"
SHORTEST_TOKEN = 16  # characters


@click.command(cls=Command, help=__doc__)
@option("model", "model URI: a registered alias or version, or a run's model", default=CHAMPION)
@option("host", "address to listen at; 0.0.0.0 opens it to the network", default="127.0.0.1")
@option("port", "port to listen at", default=5001, type=click.IntRange(1, 65535))
@option(
    "allowed_hosts",
    "names that requests may call it by, with commas; * stands for any part",
    default="localhost,127.0.0.1,[::1]",
)
@quietly
def main(model: str, host: str, port: int, allowed_hosts: str) -> None:
    """Serve."""
    token = _token(host)
    import uvicorn

    from leukemia.registry import served
    from leukemia.serving.answers import Following
    from leukemia.serving.server import app
    from leukemia.tracking import connection

    connection.connect()
    following = Following(lambda: served.version_of(model), lambda version: served.load(model))
    ready = app(following, [each.strip() for each in allowed_hosts.split(",")], token)
    console.say(f"# {following.current().served.about}")
    console.say(f"# Its network runs apart: {following.current().served.model.holds}.")
    console.say(f"Listening at http://{host}:{port} (POST /cells, /invocations); Ctrl-C ends it.")
    uvicorn.run(
        ready, host=host, port=port, log_level="warning", server_header=False,
        proxy_headers=False, timeout_keep_alive=5, limit_concurrency=256,
    )  # fmt: skip


def _token(host: str) -> str:
    """What requests must bring, "" where only this machine can ask and no token is set."""
    from leukemia.errors import UserError

    token = os.environ.get(TOKEN, "")
    if token and len(token) < SHORTEST_TOKEN:
        raise UserError(f"{TOKEN} has {len(token)} characters: give {SHORTEST_TOKEN} or more")
    if not token and not _this_machine_alone(host):
        raise UserError(
            f"host {host} opens the server to the network: set {TOKEN} to a secret of "
            f"{SHORTEST_TOKEN} characters or more, which every request must then bring"
        )
    return token


def _this_machine_alone(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
