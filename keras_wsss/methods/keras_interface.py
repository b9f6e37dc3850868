"""How a Keras user meets a method: construction, segmentation, saving."""

from numbers import Integral
from pathlib import Path

import keras

from keras_wsss.backbones import HUB, adapted, load_weights, portable_source
from keras_wsss.class_names import fault_of
from keras_wsss.config import model_settings, published_config, section
from keras_wsss.config.sections import GIVEN_MODEL, Count, Section, WorkingSize
from keras_wsss.errors import ConfigError
from keras_wsss.methods.preset import trained_steps, write_preset


class _Options(Section):
    """What a model knows beside its settings."""

    square: Count | None = None
    working_size: WorkingSize | None = None
    steps: Count | None = None


class KerasInterface:
    """Mixin of :class:`~keras_wsss.methods.base.WSSSModel`: the part that is plain Keras.

    Args:
        classes: names of the C foreground classes, or their number.
        backbone: name of a backbone (docs/configuration.md); ``hub://PRESET`` of KerasHub; or a
            Keras model: one of ours, or any that yields a feature pyramid
            (:func:`keras_wsss.backbones.adapted`).
        weights: where the backbone's weights come from, as ``backbone.weights`` in a
            configuration: ``"imagenet"``, ``"hf://..."``, a path, or None for random ones. A Keras
            model keeps those that it has.
        synchronized: bool, whether the decoder's batch norm pools its statistics over replicas.
        square: int, side of the square to which every image is brought; None: images keep their
            proportions.
        working_size: int, longer side to which larger images are brought; None: they keep their
            size. Train on crops of that size too (``batches(working_size=...)``).
        steps: int, length of the training for which the start steps in ``sections`` are made;
            None: that of the published recipe.
        name: str, of the model.
        **sections: keys and sections of the configuration (``parity``, ``seed``, ``heads``,
            ``losses``, ``cam``, ``pseudo_label`` ...), each a value or a dict that is merged into
            the published recipe; ``losses`` replaces the recipe's.

    Raises:
        ConfigError: a value cannot be used.
        WeightsError: the backbone's weights cannot be had.
    """

    def __init__(
        self,
        classes,
        backbone="efficientnet_lite0",
        weights="imagenet",
        *,
        synchronized=False,
        square=None,
        working_size=None,
        steps=None,
        name=None,
        **sections,
    ):
        module = None
        if isinstance(backbone, dict) and "class_name" in backbone:
            backbone = keras.saving.deserialize_keras_object(backbone)
        if isinstance(backbone, keras.Model) or str(backbone).startswith(HUB):
            module, weights = adapted(backbone), None
            encoder = {"name": GIVEN_MODEL, "weights": "none"}
        elif isinstance(backbone, str):
            encoder = {"name": backbone, "weights": weights or "none"}
        else:
            encoder = {"weights": weights or "none", **backbone}
            weights = weights and encoder["weights"]
        settings = model_settings(self.method, backbone=encoder, **sections)
        counted = _checked_classes(classes)
        options = {"square": square, "working_size": working_size, "steps": steps}
        options = section(_Options, f"{self.method}(...)", options)
        self._pretrained = weights
        super().__init__(
            settings,
            int(classes) if counted else len(classes),
            synchronized=synchronized,
            backbone=module,
            name=name or type(self).__name__.lower(),
        )
        self.class_names = None if counted else tuple(classes)
        self.square, self.working_size = options.square, options.working_size
        self.steps = self._given_steps = options.steps
        self.classifier_steps = None
        recipe = published_config(self.method)
        self.recipe_steps = options.steps or (recipe and recipe.training.steps)
        self.setup(settings)

    @classmethod
    def from_settings(cls, settings, classes, weights=None, **options):
        """A model with the settings of a configuration.

        Args:
            settings: :class:`~keras_wsss.config.ModelConfig`.
            classes: as for the class.
            weights: as for the class.
            **options: ``synchronized``, ``square``, ``working_size``, ``steps`` and ``name`` as
                for the class.
        """
        sections = settings.model_dump(mode="json", exclude={"method"})
        return cls(classes, sections.pop("backbone"), weights, **options, **sections)

    def build(self, input_shape=None):
        """Creates all variables and loads the backbone's weights."""
        if not self.built:
            super().build(input_shape)
            if self._pretrained is not None:
                allowed = self.settings.backbone.allow_pixel_supervision
                load_weights(self.backbone, self._pretrained, allowed)

    # ---- use ---------------------------------------------------------------------------------

    def segment(self, images, scales=(1.0,), flip=False):
        """Label maps of images at their own size; tags are not used.

        Args:
            images: as of :func:`keras_wsss.prediction.segment`: an array or path of one image; an
                array or list of several; or the path of a folder.
            scales: as there.
            flip: as there.

        Returns:
            int32, 0 = background, c + 1 = class c: `[H,W]` of one image, `[B,H,W]` or a list of
            several, and of a folder a dict, file name -> `[H,W]`.
        """
        from keras_wsss.prediction import segment  # TensorFlow's, as training is

        self.refuse_untrained_decoder()
        self.build()
        return segment(self, images, scales, flip)

    # ---- saving ------------------------------------------------------------------------------

    def get_config(self):
        settings = self.settings.model_dump(mode="json", exclude={"method"})
        backbone = settings.pop("backbone")
        if backbone["name"] == GIVEN_MODEL:
            backbone = keras.saving.serialize_keras_object(self.backbone)
        else:
            backbone["weights"] = portable_source(backbone["weights"])
        return {
            "classes": self.num_classes if self.class_names is None else list(self.class_names),
            "backbone": backbone,
            "weights": None,  # come with the file
            "synchronized": self.synchronized,
            "square": self.square,
            "working_size": self.working_size,
            "steps": self._given_steps,
            "name": self.name,
            **settings,
        }

    def get_build_config(self):
        return {
            "trained_steps": trained_steps(self),
            "steps": self.steps,
            "classifier_steps": self.classifier_steps,
        }

    def build_from_config(self, config):
        self.build()
        self.trained_steps = int(config["trained_steps"])
        self.steps, self.classifier_steps = config["steps"], config["classifier_steps"]
        if self.steps is not None:
            self._set_schedule()

    def save(self, filepath, *arguments, **options):
        """As Keras' ``save``; a model that was not used yet is built first.

        Raises:
            ConfigError: the file is to be in HDF5, from which Keras could not load it again.
        """
        if Path(filepath).suffix in (".h5", ".hdf5"):
            name = Path(filepath).with_suffix(".keras")
            raise ConfigError(
                f"{filepath}: Keras could not load the model from this format again; save it as "
                f"{name}"
            )
        self.build()
        super().save(filepath, *arguments, **options)

    def save_to_preset(self, folder):
        """Writes a folder that :func:`keras_wsss.load` reads: settings, class names and weights.

        Args:
            folder: path; files of ours in it are replaced.
        """
        self.build()
        write_preset(self, Path(folder))

    def export(self, filepath, format="tf_saved_model", input_signature=None, **options):
        """As Keras' ``export``, for images of any size.

        :func:`keras_wsss.export.export_run` adds decoding, limits and a comparison.
        """
        self.refuse_untrained_decoder()
        self.build()
        if input_signature is None:
            input_signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="float32")]
        return super().export(filepath, format, input_signature=input_signature, **options)

    def refuse_untrained_decoder(self):
        """Raises ConfigError where no loss term teaches the decoder."""
        if not self.settings.trains_decoder:
            raise ConfigError(
                f"{self.name}: no loss term teaches its decoder, so it has no masks to give; its "
                "class activation maps are model(images, request=['cam'])['cam']"
            )


def _checked_classes(classes):
    """Whether ``classes`` are counted, not named; ConfigError where they are neither."""
    if isinstance(classes, Integral) and not isinstance(classes, bool) and classes > 0:
        return True
    named = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    if not named or fault_of(classes):
        raise ConfigError(
            f"classes={classes!r:.200}: allowed: the names of the foreground classes, each once, "
            "in the order of the data; or their number"
        )
    return False
