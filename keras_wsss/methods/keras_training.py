"""How a Keras user trains a method: `compile` and `fit`."""

import warnings

import keras
from keras import ops

from keras_wsss.config import published_config, section
from keras_wsss.config.sections import Count, OptimizerConfig, Section, StepNumber
from keras_wsss.data import Split
from keras_wsss.errors import ConfigError, DataError, TrainingError
from keras_wsss.methods.schedule import Schedule
from keras_wsss.optimizers import batches_seen, build_optimizer

OWN_LOSSES = ("loss_weights", "metrics", "weighted_metrics")
WEIGHTED = "sample and class weights are not used; say losses={...} when the model is made"
FROM_DATA = {
    "labels": "the tags, float [B,C]",
    "mask": "masks=True in split.batches or training_dataset, or images that have masks",
    "saliency": "saliency=True in split.batches or training_dataset",
}


class _Lengths(Section):
    """Of `compile`."""

    steps: Count | None = None
    classifier_steps: StepNumber | None = None


class KerasTraining:
    """Mixin of :class:`~keras_wsss.methods.base.WSSSModel`: `compile`, `fit` and their checks."""

    def compile(
        self,
        optimizer=None,
        loss=None,
        *,
        steps=None,
        classifier_steps=None,
        jit_compile=False,
        **options,
    ):
        """As Keras' ``compile``, with the schedule of the loss terms in place of losses.

        Args:
            optimizer: Keras optimiser or its name; None: the paper's, with its schedule over
                ``steps``.
            loss: None; it is here to be refused by its name.
            steps: int, length of the training. The published schedule is brought to this length.
                None: it is taken from the configuration, or from the first ``fit``.
            classifier_steps: int, how long the classifier trains alone; None: the published part.
            jit_compile: bool, compile network, losses and gradients of a replica with XLA.
            **options: ``run_eagerly``, ``steps_per_execution``, ``auto_scale_loss``; for the
                paper's optimiser also keys of the section ``optimizer``, e.g. ``learning_rate``.

        Raises:
            ConfigError: neither an optimiser nor ``steps``, a value that cannot be used, or losses
                or metrics, which a method brings itself.
        """
        for option, value in {"loss": loss, **options}.items():
            if option in ("loss", *OWN_LOSSES) and value is not None:
                raise ConfigError(
                    f"compile({option}=...): a method brings its own losses and metrics; their "
                    "weights are set by losses={...} when the model is made"
                )
        values = {"steps": steps, "classifier_steps": classifier_steps}
        lengths = section(_Lengths, "compile(...)", values)
        self.steps = lengths.steps or self._given_steps
        settings = {key: options.pop(key) for key in OptimizerConfig.model_fields if key in options}
        if optimizer is None:
            optimizer = self._paper_optimizer(settings)
        elif settings:
            raise ConfigError(
                f"compile({', '.join(settings)}=...): belongs to the paper's optimizer; set it in "
                "the optimizer that is given"
            )
        self.classifier_steps = lengths.classifier_steps
        if self.steps is not None:
            self._set_schedule()
        self.build()
        if hasattr(optimizer, "backbone_ids"):
            optimizer.backbone_ids = frozenset(map(id, self.backbone.trainable_variables))
        # Keras' own compilation would take in the distribution strategy as well, which fails.
        super().compile(optimizer=optimizer, jit_compile=False, **options)
        self.xla = bool(jit_compile) and jit_compile != "auto"
        self.optimizer.build(self.trainable_variables)

    def _paper_optimizer(self, settings):
        if self.steps is None:
            raise ConfigError(
                "compile(): how many steps? compile(steps=N) is the paper's optimizer and schedule "
                "for a training of N batches; or name an optimizer"
            )
        recipe = published_config(self.method)
        published = recipe.optimizer if recipe else OptimizerConfig(warmup_steps=0)
        scale = self.steps / recipe.training.steps if recipe else 1.0
        values = {
            **published.model_dump(),
            "warmup_steps": round(scale * published.warmup_steps),
            "milestones": [max(1, round(scale * step)) for step in published.milestones],
            **settings,
        }
        return build_optimizer(section(OptimizerConfig, "compile(...)", values), self.steps)

    def _set_schedule(self):
        scale = self.steps / self.recipe_steps if self.recipe_steps else 1.0
        self.schedule = Schedule(self.settings, scale, self.classifier_steps)
        for name, start in (self.schedule.starts | self.schedule.events).items():
            if start >= self.steps:
                raise ConfigError(
                    f"compile(...): {name} would begin at step {start}; allowed: less than the "
                    f"{self.steps} steps of the training"
                )

    def fit(self, x=None, y=None, *, epochs=1, steps_per_epoch=None, shuffle=None, **options):
        """As Keras' ``fit``, on batches of :meth:`keras_wsss.data.Split.batches`.

        Raises:
            DataError: the batches lack what the loss terms read, or their images are not 0..255.
            TrainingError: the steps of ``compile(steps=...)`` are done.
        """
        if not self.compiled:
            raise TrainingError("fit: compile(steps=N) comes first, N batches in all")
        if y is not None:
            raise DataError("fit(x, y): takes one dataset of batches (split.batches(...)), no y")
        if options.get("sample_weight") is not None or options.get("class_weight") is not None:
            raise DataError(f"fit: {WEIGHTED}")
        _check_keys(self.method, x, {"labels", *self.schedule.last.reads})
        validation = options.get("validation_data")
        _check_keys(self.method, validation, self.needed_to_score(_keys(validation)))
        _check_range(x)
        images = getattr(x, "element_spec", x)
        if "image" in _keys(x) and isinstance(images, dict):
            for side in filter(None, images["image"].shape[1:3]):
                self.check_crop(int(side))
        of_batches = getattr(x, "working_size", self.working_size)
        if of_batches != self.working_size:
            warnings.warn(
                f"fit: the batches were made with working_size={of_batches}, the model has "
                f"working_size={self.working_size}: it would see new photographs at another size "
                "than those it learns from; give both the same",
                stacklevel=2,
            )
        length = steps_per_epoch or _length(x, options.get("batch_size"))
        asked = length and (epochs - options.get("initial_epoch", 0)) * length
        asked_for = self.steps
        if self.steps is None:
            if not asked:
                raise TrainingError(
                    "fit: the dataset does not say how long it is; compile(steps=N), or "
                    "fit(steps_per_epoch=N)"
                )
            self.steps = asked
            self._set_schedule()
        done = batches_seen(self.optimizer)
        if done >= self.steps:
            raise TrainingError(
                f"fit: the {self.steps} steps for which the model was compiled are done; compile "
                "it again to train on"
            )
        if asked and done + asked > self.steps:
            warnings.warn(
                f"fit goes on after the {self.steps} steps for which the model was compiled, with "
                "the last learning rate",
                stacklevel=2,
            )
        try:
            # Our batches are shuffled already, and Keras warns that it will not shuffle them.
            return super().fit(
                x, epochs=epochs, steps_per_epoch=steps_per_epoch, shuffle=bool(shuffle), **options
            )
        except Exception:
            if asked_for is None and batches_seen(self.optimizer) == done:
                self.steps = None  # a fit without a step says nothing about the length
            raise

    def check_crop(self, side):
        """Raises ConfigError where crops are too small for a term, be it one that begins late.

        Args:
            side: int, of the crops.
        """
        seen = self.smallest_view(side, self.schedule.last.reads)
        least = getattr(self.backbone, "smallest_side", 1)
        if seen < least:
            raise ConfigError(
                f"data.crop_size: value {side}; {self.method} also looks at views of {seen} pixels "
                f"a side then, and the encoder needs {least}; take a larger crop, or larger "
                "cam.scales"
            )

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """As Keras' ``train_on_batch``, on one batch of a dataset."""
        if sample_weight is not None or class_weight is not None:
            raise DataError(f"train_on_batch: {WEIGHTED}")
        return super().train_on_batch(x, y, return_dict=return_dict)

    def needed_to_score(self, keys):
        """The key without which batches that hold ``keys`` have nothing to score; a set."""
        if self.settings.trains_decoder and "mask" in keys:
            return set()
        return {"labels" if "classification" in self.trackers else "mask"}

    def checked_batch(self, batch, needed=()):
        """The dict of a batch, however Keras hands it over, or one clear message.

        Args:
            batch: dict with ``image``, or a tuple that begins with one; without ``valid_box`` all
                of an image is valid.
            needed: further keys; what does not come with a batch is passed over.
        """
        batch, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if weights is not None:
            raise DataError(WEIGHTED)
        if y is not None:
            raise DataError("a batch is one dict; labels and mask belong into it")
        if not isinstance(batch, dict) or "image" not in batch:
            raise DataError("a batch is a dict with image and labels, as split.batches(...) makes")
        _check_keys(self.method, batch, needed)
        self.check_images(batch["image"])
        self._check_shapes(batch)
        if "valid_box" not in batch:
            count, height, width = ops.shape(batch["image"])[:3]
            box = ops.cast(ops.stack([0, height, 0, width]), "int32")
            batch = {**batch, "valid_box": ops.tile(box[None], (count, 1))}
        return batch

    def _check_shapes(self, batch):
        count = batch["image"].shape[0]
        wanted = {"labels": (count, self.num_classes), "mask": tuple(batch["image"].shape[:3])}
        for key, shape in wanted.items():
            given = tuple(batch[key].shape) if key in batch else shape
            fits = (a == b or None in (a, b) for a, b in zip(given, shape, strict=False))
            if len(given) != len(shape) or not all(fits):
                what = {"labels": "tags [B,C], 0 or 1", "mask": "class ids [B,H,W]"}[key]
                raise DataError(f"{key} has the shape {given}; it holds {what}, here {shape}")

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "steps": self.steps,
            "classifier_steps": self.classifier_steps,
            "jit_compile": self.xla,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config):
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**{**config, "optimizer": optimizer})


def _keys(data):
    """Keys of the batches of a dataset, or of a dict of arrays; those that may be read where it
    does not say.

    Raises:
        DataError: it is no dataset, but what one is made of.
    """
    if isinstance(data, Split):
        raise DataError(
            f"{data!r} is no dataset: split.batches(crop=SIDE, batch_size=N) makes one for fit, "
            "split.batches() one of whole images for validation"
        )
    spec = getattr(data, "element_spec", data)
    return set(spec) if isinstance(spec, dict) else set(FROM_DATA)


def _check_keys(method, data, needed):
    """Raises DataError where batches lack a key that is needed now or later."""
    keys = _keys(data)
    for key, source in FROM_DATA.items():
        if key in needed and key not in keys:
            raise DataError(f"{method} needs {key!r} in every batch: {source}")


def _check_range(data):
    """Raises DataError where images of one's own arrays or dataset are 0..1, as is usual elsewhere.

    The network would learn from nearly black pictures, and nothing would say so.
    """
    if "image" not in _keys(data) or hasattr(data, "working_size"):
        return
    images = data["image"][:32] if isinstance(data, dict) else next(iter(data))["image"]
    images = ops.convert_to_tensor(images)
    is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype))
    if is_float and 0 < ops.max(images) <= 1:
        raise DataError(
            "fit: the images are 0..1 and a backbone scales 0..255 by itself; multiply them by 255"
        )


def _length(dataset, batch_size=None):
    """Batches of a dataset, or of a dict of arrays; None where it does not say."""
    try:
        if isinstance(dataset, dict):
            rows = len(next(iter(dataset.values())))
            return -(-rows // (batch_size or 32))  # as many as Keras takes by itself
        length = len(dataset)
    except TypeError:
        return None
    return length if length > 0 else None
