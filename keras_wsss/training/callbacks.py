"""What happens around the steps of ``fit``: logs, progress, validation, checkpoints, guards."""

import math
import signal
import threading
import time

import keras
import numpy as np
import tensorflow as tf
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from keras_wsss.data import explain_errors
from keras_wsss.errors import DivergenceError, InterruptionError
from keras_wsss.inference import Predictor, evaluate
from keras_wsss.inference.contact_sheet import contact_sheet


class StepCallback(keras.callbacks.Callback):
    """Callback that counts optimiser steps, so that a resumed run goes on counting."""

    def on_train_begin(self, logs=None):
        self.step = int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.on_step(logs)

    def on_step(self, logs):
        """Called after step number ``self.step`` (1 for the first)."""


class StopOnNaN(StepCallback):
    """Stops when the loss is not finite, naming the step, the images and the way on.

    Args:
        ids_of_step: function of the 0-based step to the ids of its images.
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
    """

    def __init__(self, ids_of_step, run):
        super().__init__()
        self.ids_of_step = ids_of_step
        self.run = run

    def on_step(self, logs):
        if math.isfinite(logs["loss"]):
            return
        bad = [name for name, value in logs.items() if not math.isfinite(value)]
        raise DivergenceError(
            f"step {self.step - 1}: the loss is not finite ({', '.join(bad)}) on the images "
            f"{', '.join(self.ids_of_step(self.step - 1))}; go on from the last checkpoint with a "
            "lower rate or clipped gradients: keras-wsss train --resume --run-dir "
            f"{self.run.whole} --set optimizer.learning_rate=... --set optimizer.clip_norm=1"
        )


class StepLog(StepCallback):
    """Every ``every`` steps the mean of each loss term: metrics.jsonl, TensorBoard, progress.

    Must come last among the callbacks that read step logs, since it resets the means, and before
    those that save, which save the means too.
    """

    def __init__(self, run, board, every, total_steps, batch_size, verbose=True):
        super().__init__()
        self.run, self.board, self.every = run, board, every
        self.total_steps, self.batch_size, self.verbose = total_steps, batch_size, verbose

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.means = [(v, v.numpy()) for metric in self.model.metrics for v in metric.variables]
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        columns = *columns, TextColumn("ETA"), TimeRemainingColumn()
        self.progress = Progress(*columns, disable=not self.verbose)
        self.task = self.progress.add_task("", total=self.total_steps, completed=self.step)
        self.progress.start()
        self.since = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has begun the means anew, and those of a checkpoint go on.
        for variable, value in self.means:
            variable.assign(value)

    def on_step(self, logs):
        self.progress.update(self.task, completed=self.step)
        if self.step % self.every and self.step != self.total_steps:
            return
        now = time.perf_counter()
        steps = (self.step - 1) % self.every + 1
        record = {name: float(value) for name, value in logs.items()}
        record["learning_rate"] = float(self.model.optimizer.learning_rate)
        record["images_per_second"] = round(steps * self.batch_size / (now - self.since), 2)
        self.since = now
        self.run.append_metrics({"step": self.step, **record})
        with self.board.at(self.step):
            for name, value in record.items():
                tf.summary.scalar(name, value)
        line = f"step {self.step}/{self.total_steps}"
        for name, value in record.items():
            line += f"  {name} {value:.4g}"
        self.progress.update(self.task, description=f"{record['images_per_second']:.1f} images/s")
        if self.verbose:
            self.progress.console.print(line, highlight=False, soft_wrap=True)
        self.model.reset_metrics()

    def on_train_end(self, logs=None):
        self.progress.stop()


class Validation(StepCallback):
    """Decoder mIoU every ``every`` steps, then the checkpoints ``best`` and ``last``.

    Args:
        split: validation :class:`~keras_wsss.data.Split`; without masks, or where no loss term
            trains the decoder, only ``last`` is written.
        saver: :class:`~keras_wsss.training.saving.Saver`.
        board: :class:`~keras_wsss.training.board.Board`.
        every: int, steps.
        total_steps: int.
        state: numbers that are saved too, among them ``best``, the best mIoU (percent) so far.
        verbose: bool, print the scores.
    """

    def __init__(self, split, saver, board, every, total_steps, state, verbose=True):
        super().__init__()
        self.split, self.saver, self.board, self.verbose = split, saver, board, verbose
        self.every, self.total_steps, self.state = every, total_steps, state
        self.run = saver.run

    def on_step(self, logs):
        if self.step % self.every and self.step != self.total_steps:
            return
        kinds = ("last",)
        if self.split.mask_paths is not None and self.model.settings.trains_decoder:
            with explain_errors(self.split):
                miou = evaluate(self.model, self.split, tags=False)["decoder"]["miou"]
            self._tell(miou)
            if miou > self.state["best"]:
                self.state["best"] = miou
                # Before the one that remembers the score, so that none is missing after a kill.
                kinds = ("best", "last")
        self.save(kinds)

    def save(self, kinds=("last",)):
        """Writes checkpoints of now."""
        self.saver.save(self.model, kinds, **{**self.state, "step": self.step})

    def on_train_end(self, logs=None):
        self.saver.wait()

    def _tell(self, miou):
        self.run.append_metrics({"step": self.step, "validation_miou": miou})
        with self.board.at(self.step):
            tf.summary.scalar("validation_miou", miou)
        start = self.model.schedule.decoder_start
        early = f" (masks are trained from step {start})" if self.step <= start else ""
        if self.verbose:
            print(f"step {self.step}: decoder mIoU {miou:.2f}{early}", flush=True)


class StopOnSignal(StepCallback):
    """Ctrl-C and SIGTERM: the step is finished, the state saved, and the training ends.

    A second Ctrl-C ends at once. Must come after all others, which have to see the last step.

    Args:
        validation: :class:`Validation`, which writes the checkpoints.
    """

    SIGNALS = signal.SIGINT, signal.SIGTERM

    def __init__(self, validation):
        super().__init__()
        self.validation, self.caught, self.before = validation, None, {}

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        if threading.current_thread() is threading.main_thread():  # others may not
            self.before = {number: signal.signal(number, self._catch) for number in self.SIGNALS}

    def on_train_end(self, logs=None):
        self.release()

    def release(self):
        """Signals mean again what they meant before."""
        while self.before:
            signal.signal(*self.before.popitem())

    def on_step(self, logs):
        if self.caught is None:
            return
        if self.step < self.validation.total_steps:  # else it is saved
            self.validation.save()
        self.validation.saver.wait()
        error = InterruptionError(
            f"stopped after step {self.step}, which is saved; go on with: "
            f"keras-wsss train --resume --run-dir {self.validation.run.whole}"
        )
        error.exit_code = 128 + self.caught
        raise error

    def _catch(self, number, frame):
        self.caught = number
        signal.signal(number, self.before[number])


class Pictures(StepCallback):
    """Contact sheet of one fixed training batch in TensorBoard every ``every`` steps."""

    def __init__(self, batch, split, board, every):
        super().__init__()
        self.batch, self.split, self.board, self.every = batch, split, board, every

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.predictor = Predictor(self.model)

    def on_step(self, logs):
        if self.step % self.every:
            return
        model, batch = self.model, self.batch
        cam, pseudo, _ = model.describe(batch)
        prediction = self.predictor(batch["image"])
        shown = cam * batch["labels"][:, None, None, :]
        columns = (batch["image"], shown, pseudo, prediction)
        rows = list(zip(*(column.numpy() for column in columns), strict=True))
        names = [self.split.ids[index] for index in batch["index"].numpy()]
        sheet = np.asarray(contact_sheet(rows, names, self.split.class_names))
        with self.board.at(self.step):
            tf.summary.image("training", sheet[None])
