"""What a run's machine does meanwhile: processor, memory, disk, network and GPU, as MLflow names
them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

PREFIX = "system/"
SECONDS = 5  # between two readings

Write = Callable[[Mapping[str, float], int], None]  # figures of a step


class _Monitor(SystemMetricsMonitor):
    """MLflow's readings, without its requests: it asks the server each time and gives up once."""

    def __init__(self, run_id: str, write: Write, step: int):
        super().__init__(run_id, sampling_interval=SECONDS)
        self._write, self._logging_step = write, step

    def monitor(self) -> None:
        """Called by MLflow, in a thread."""
        while not self._shutdown_event.wait(self.sampling_interval):
            self.collect_metrics()
            self.publish_metrics(self.aggregate_metrics())

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Hand on what was read."""
        self._write({PREFIX + name: value for name, value in metrics.items()}, self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()


@contextmanager
def watched(run_id: str, write: Write, step: int) -> Iterator[None]:
    """Read the machine while the block goes on. step: of the first reading."""
    monitor = _Monitor(run_id, write, step)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
