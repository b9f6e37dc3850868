"""One training step under TensorFlow: replicas, XLA, mixed precision. No method overrides it."""

import tensorflow as tf

from keras_wsss.ops._backend import compiled
from keras_wsss.optimizers import batches_seen


class TrainingStep:
    """Mixin of :class:`~keras_wsss.methods.base.WSSSModel`.

    `fit` calls ``train_function`` once an execution. Ours looks up which loss terms count at that
    step and dispatches to a function traced for exactly these, so that terms (and CAM passes)
    that have not started are never computed, without a conditional inside the graph. With
    ``steps_per_execution`` an execution in which another phase begins is run in parts.
    """

    def make_train_function(self, force=False):
        if force or self.train_function is None:
            self._functions = {}
        next_step = last_iterator = None

        def train_function(iterator):
            nonlocal next_step, last_iterator
            # Asked of the optimiser only where an epoch begins, as that waits for the device: then
            # callbacks may have restored it, or data may have ended within an execution.
            if iterator is not last_iterator:
                next_step = batches_seen(self.optimizer)
            last_iterator, logs = iterator, None
            last_step = next_step + self.steps_per_execution
            while next_step < last_step:
                steps = min(self.schedule.next_change(next_step), last_step) - next_step
                try:
                    # Without data a single step would count itself nevertheless.
                    data = [next(iterator)] if steps == 1 < self.steps_per_execution else iterator
                    logs = self._run_steps(self.schedule.phase(next_step), steps, data)
                except StopIteration:
                    if logs is None:
                        raise
                    break  # the data ended where another phase begins
                next_step += steps
            return logs

        self.train_function = train_function

    def _run_steps(self, phase, steps, data):
        """Runs steps of one phase, traced for their number: Keras reads it while it traces."""
        steps_per_execution, self.steps_per_execution = self.steps_per_execution, steps
        try:
            if (phase, steps) not in self._functions:
                self._functions[phase, steps] = self._make_function(
                    lambda batch: self.train_step(batch, phase)
                )
            return self._functions[phase, steps](data)
        finally:
            self.steps_per_execution = steps_per_execution

    def train_step(self, batch, phase=None):
        """One optimisation step on ``batch`` in a phase (None: the last); returns the logs."""
        phase = phase or self.schedule.last
        batch = self.checked_batch(batch, {"labels", *phase.reads})
        gradients_of = compiled(self.terms_and_gradients) if self.xla else self.terms_and_gradients
        terms, gradients = gradients_of(batch, phase)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for name, value in terms.items():
            self.trackers[name].update_state(value)
        return {name: self.trackers[name].result() for name in terms}

    def terms_and_gradients(self, batch, phase):
        """Loss terms with their weighted sum ``loss``, and the gradient of this replica's share.

        Returns:
            Pair of a dict of scalars and a list that matches ``trainable_variables``; a variable
            that no term of the phase reaches gets zeros, so that its decay and its step count go
            on.
        """
        with tf.GradientTape() as tape:
            outputs = self.forward(batch, phase)
            with tape.stop_recording():
                labels = self.pseudo_labels(batch, outputs, phase)
            terms = self.loss_terms(batch, outputs, labels, phase)
            loss = sum(self.schedule.weights[name] * value for name, value in terms.items())
            # Keras sums the gradients of the replicas and leaves custom losses unscaled.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            share = self.optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(
            share, [v.value for v in self.trainable_variables], unconnected_gradients="zero"
        )
        return {"loss": loss, **terms}, gradients
