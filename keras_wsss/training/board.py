"""What TensorBoard shows of a run."""

import errno
from contextlib import contextmanager

import tensorflow as tf


class Board:
    """Scalars and pictures in the folder ``tensorboard`` of a run.

    Args:
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
        step: int, that the training goes on from: TensorBoard leaves out what an interrupted one
            has drawn after it.
    """

    def __init__(self, run, step=0):
        self.run, self.writer = run, None
        if run.tensorboard.exists():
            with self._explained(), tf.Graph().as_default():  # this writer is not for eager code
                writer = tf.compat.v1.summary.FileWriter(str(run.tensorboard))
                begin = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
                writer.add_session_log(begin, step + 1)
                writer.close()

    @contextmanager
    def at(self, step):
        """Within it ``tf.summary`` draws at a step.

        Raises:
            TrainingError: the files cannot be written.
        """
        with self._explained():
            if self.writer is None:
                self.writer = tf.summary.create_file_writer(str(self.run.tensorboard))
            with self.writer.as_default(step):
                yield
            self.writer.flush()

    def close(self):
        """Ends the file."""
        if self.writer is not None:
            with self._explained():
                self.writer.close()

    @contextmanager
    def _explained(self):
        with self.run.explained(self.run.tensorboard):
            try:
                yield
            except tf.errors.OpError as error:
                raise OSError(errno.EIO, error.message.partition(";")[0]) from error
