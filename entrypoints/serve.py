"""Answer about images over HTTP with a registered model, following its alias.

POST image files to /cells, or MLflow's JSON to /invocations. Research use only; not for diagnosis.
"""

import click

from . import console
from .command import CHAMPION, Command, option, quietly


@click.command(cls=Command, help=__doc__)
@option("model", "model URI: a registered alias or version, or a run's model", default=CHAMPION)
@option("host", "address to listen at; 0.0.0.0 opens it to the network", default="127.0.0.1")
@option("port", "port to listen at", default=5001, type=click.IntRange(1, 65535))
@quietly
def main(model: str, host: str, port: int) -> None:
    """Serve."""
    import uvicorn

    from leukemia.registry import served
    from leukemia.serving.answers import Following
    from leukemia.serving.server import app
    from leukemia.tracking import runs

    runs.connect()
    following = Following(lambda: served.version_of(model), lambda version: served.load(model))
    ready = app(following)
    console.say(f"# {following.current().served.about}")
    console.say(f"Listening at http://{host}:{port} (POST /cells, /invocations); Ctrl-C ends it.")
    uvicorn.run(ready, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main()
