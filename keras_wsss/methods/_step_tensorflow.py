"""One training step under TensorFlow: replicas, XLA, mixed precision. No method overrides it."""

import tensorflow as tf

from keras_wsss.ops._backend import compiled


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
        next_step = None  # callbacks may yet restore the optimiser, and its count with it

        def train_function(iterator):
            nonlocal next_step
            if next_step is None:
                next_step = int(self.optimizer.iterations.numpy())
            last_step = next_step + self.steps_per_execution
            while next_step < last_step:
                steps = min(self.schedule.next_change(next_step), last_step) - next_step
                logs = self._run_steps(self.schedule.phase(next_step), steps, iterator)
                next_step += steps
                if next_step < last_step and int(self.optimizer.iterations.numpy()) < next_step:
                    break  # there was no more data
            return logs

        self.train_function = train_function

    def _run_steps(self, phase, steps, iterator):
        """Runs steps of one phase, traced for their number: Keras reads it while it traces."""
        steps_per_execution, self.steps_per_execution = self.steps_per_execution, steps
        try:
            if (phase, steps) not in self._functions:
                self._functions[phase, steps] = self._make_function(
                    lambda batch: self.train_step(batch, phase)
                )
            return self._functions[phase, steps](iterator)
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
