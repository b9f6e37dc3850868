"""Checkpoints that are written while the training goes on."""

from concurrent.futures import ThreadPoolExecutor

from keras_wsss.inference.checkpoints import save_checkpoint, taken_from


class Saver:
    """Copies the state of a training, and writes the copy in a thread of its own.

    Args:
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
    """

    def __init__(self, run):
        self.run = run
        self.pool = ThreadPoolExecutor(1)
        self.writing = None

    def save(self, model, kinds, **state):
        """Saves the state of now under several names, once the one before is written.

        Args:
            model: compiled model.
            kinds: ``last``, ``best``, in the order in which they are to be written.
            **state: numbers kept beside the weights.

        Raises:
            TrainingError: the one before could not be written, or a weight is not finite.
        """
        self.wait()
        arrays, state = taken_from(model, **state)

        def write():
            for which in kinds:
                save_checkpoint(self.run, which, arrays, state)

        self.writing = self.pool.submit(write)

    def wait(self):
        """Returns when all is written.

        Raises:
            TrainingError: it could not be.
        """
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def close(self):
        """Ends the thread once it has written what it has begun."""
        self.pool.shutdown()
