"""One training step under TensorFlow: replicas, XLA, mixed precision. No method overrides it."""

import tensorflow as tf

from keras_wsss.ops._backend import compiled


class TrainingStep:
    """Mixin of :class:`~keras_wsss.methods.base.WSSSModel`.

    `fit` calls ``train_function`` once a step. Ours looks up which loss terms are active at that
    step and dispatches to a function traced for exactly these, so that terms (and CAM passes)
    that have not started are never computed, without a conditional inside the graph.
    """

    def make_train_function(self, force=False):
        if force or self.train_function is None:
            self._phase_functions = {}
        next_step = int(self.optimizer.iterations.numpy())

        def train_function(iterator):
            nonlocal next_step
            active = self.active_terms(next_step)
            if active not in self._phase_functions:
                self._phase_functions[active] = self._make_function(
                    lambda batch: self.train_step(batch, active)
                )
            next_step += self.steps_per_execution
            return self._phase_functions[active](iterator)

        self.train_function = train_function

    def train_step(self, batch, active=None):
        """One optimisation step on ``batch`` with the terms ``active`` (all); returns the logs."""
        if active is None:
            active = self.active_terms(self.settings.training.steps)
        gradients_of = compiled(self.terms_and_gradients) if self.xla else self.terms_and_gradients
        terms, gradients = gradients_of(batch, active)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for name, value in terms.items():
            self.trackers[name].update_state(value)
        return {name: self.trackers[name].result() for name in terms}

    def terms_and_gradients(self, batch, active):
        """Loss terms with their weighted sum ``loss``, and the gradient of this replica's share.

        Returns:
            Pair of a dict of scalars and a list that matches ``trainable_variables``; a variable
            that no active term reaches gets zeros, so that its decay and its step count go on.
        """
        with tf.GradientTape() as tape:
            outputs = self.forward(batch, active)
            with tape.stop_recording():
                labels = self.pseudo_labels(batch, outputs, active)
            terms = self.loss_terms(batch, outputs, labels, active)
            loss = sum(self.loss_settings[name].weight * value for name, value in terms.items())
            # Keras sums the gradients of the replicas and leaves custom losses unscaled.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            share = self.optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(
            share, [v.value for v in self.trainable_variables], unconnected_gradients="zero"
        )
        return {"loss": loss, **terms}, gradients
