"""The steps of Keras' fit and predict alone.

On arrays they end only when tf.data's tuner wakes, whose sleeps double: up to twice the time of a
short call. Long calls hardly tell, so short ones are not held against Keras.
"""

from time import perf_counter

import keras


class Steps(keras.callbacks.Callback):
    """seconds: from each call's first step to its last, summed over calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self._start, self._end = 0.0, 0.0, 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Called by Keras."""
        self._start = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Called by Keras."""
        self._start = self._start or perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Called by Keras."""
        self._end = perf_counter()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Called by Keras."""
        self.seconds += self._end - self._start

    on_predict_begin, on_predict_end = on_train_begin, on_train_end
    on_predict_batch_begin, on_predict_batch_end = on_train_batch_begin, on_train_batch_end
