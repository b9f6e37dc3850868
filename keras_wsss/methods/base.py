"""A method = a network + a pseudo-labeller + a list of weighted, scheduled loss terms."""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.keras_interface import KerasInterface
from keras_wsss.methods.keras_training import KerasTraining
from keras_wsss.methods.labeller import Labeller, scaled
from keras_wsss.methods.network import Network
from keras_wsss.methods.schedule import Schedule
from keras_wsss.metrics import MeanIoU
from keras_wsss.ops.affinity import affinity_targets
from keras_wsss.ops.label import inside
from keras_wsss.ops.resize import resize

if keras.backend.backend() == "tensorflow":
    from keras_wsss.methods._step_tensorflow import TrainingStep
else:

    class TrainingStep:  # type: ignore[no-redef]
        """The numerics run on JAX too, training only on TensorFlow."""


AFFINITY_RADIUS = 8  # in tokens
LATTICE_AMPLITUDE = 0.46  # of the released energy filter against the exact Gaussian (RRM, "Energy")


class WSSSModel(TrainingStep, KerasTraining, KerasInterface, Network):
    """A network that makes its own labels from tags and learns from them.

    Every training step calls three functions, in this order:

    * :meth:`forward`: the network passes (gradients flow);
    * :meth:`pseudo_labels`: what the passes say about the pixels (no gradient);
    * ``NAME_loss(batch, outputs, label)`` for each loss term that counts, ``label`` being what
      :meth:`pseudo_labels` has for that term, or None.

    A method is a subclass with the functions of its own terms, a ``labeller_class`` where its
    labels are made in another way, and :meth:`forward` where it needs more passes. Its name and
    terms are declared in its ``settings.py`` (:class:`keras_wsss.config.Method`).

    Example:

    >>> model = wsss.BMP(classes=["cat", "dog"], backbone="mit_tiny", weights=None)
    >>> isinstance(model, WSSSModel), sorted(model.settings.losses)
    (True, ['affinity', 'c2s', 'classification', 's2c'])
    >>> ops.shape(model(ops.ones((1, 64, 64, 3)))["segmentation_logits"])
    (1, 16, 16, 3)
    """

    method = ""  # its name, as configurations give it
    labeller_class = Labeller
    align_corners = False  # how decoder logits are brought to the size of the image
    trained_steps = 0  # of the checkpoint that was loaded last

    def setup(self, settings):
        """Makes labeller, schedule and metrics once the network is there."""
        self.settings = settings
        self.labeller = self.labeller_class(self, settings)
        self.schedule = Schedule(settings)
        self.random = keras.random.SeedGenerator(settings.seed)
        names = ("loss", *settings.losses)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.mean_iou = MeanIoU(self.num_classes + 1, name="miou")

    # ---- the three functions of a step ------------------------------------------------------

    def forward(self, batch, phase):
        """Outputs of the passes of a training step.

        Args:
            batch: see :func:`keras_wsss.data.training_dataset`.
            phase: :class:`~keras_wsss.methods.schedule.Phase`, what counts at this step.

        Returns:
            dict: ``view``, the outputs of the gradient pass; ``logits``, the decoder's at the size
            of the image; and the labeller's maps where a term reads them.
        """
        images = batch["image"]
        request = ("cam", "affinity") if "affinity" in phase.reads else ("cam",)
        outputs = {"view": self(images, training=True, request=request)}
        if "maps" in phase.reads:
            outputs |= self.labeller.maps(batch, outputs["view"], phase.events)
        outputs["logits"] = self.enlarged(outputs["view"]["segmentation_logits"], images)
        return outputs

    def pseudo_labels(self, batch, outputs, phase):
        """What supervises each term that reads ``label``.

        Returns:
            dict, loss term -> int32 `[B,S,S]`, 0 = background, c + 1 = class c, 255 = ignored.
        """
        terms = self.schedule.readers(phase, "label")
        if not terms:
            return {}
        return dict.fromkeys(
            terms, self.labeller.label(batch, outputs, "propagation" in phase.events)
        )

    def loss_terms(self, batch, outputs, labels, phase):
        """Scalar of each loss term that counts, before weighting, in the order of the method."""
        return {
            name: getattr(self, f"{name}_loss")(batch, outputs, labels.get(name))
            for name in self.schedule.terms
            if name in phase.terms
        }

    # ---- loss terms that methods share -------------------------------------------------------

    def classification_loss(self, batch, outputs, label):
        """The image tags."""
        return losses.multilabel_soft_margin(batch["labels"], outputs["view"]["image_logits"])

    def segmentation_loss(self, batch, outputs, label):
        """Balanced cross-entropy of the decoder (AFA, eq. 17)."""
        return losses.balanced_cross_entropy(label, outputs["logits"])

    def affinity_loss(self, batch, outputs, label):
        """Affinity of the attention against labels (AFA, eq. 19)."""
        targets = affinity_targets(label, AFFINITY_RADIUS, self.backbone.output_stride)
        return losses.affinity_loss(targets, outputs["view"]["affinity"])

    def energy_loss(self, batch, outputs, label):
        """Dense energy of the decoder (RRM, eq. 11 to 14)."""
        stride = self.settings.losses["energy"].stride
        energy = losses.dense_energy(
            batch["image"], label, outputs["logits"], batch["valid_box"], stride=stride
        )
        return energy * (LATTICE_AMPLITUDE if self.settings.parity else 1.0)

    def object_distance_loss(self, batch, outputs, label):
        """Evidence inside the salient object is alike (I2CRC, eq. 5)."""
        salient, _ = self.saliency(batch)
        return losses.class_agnostic_distance(outputs["view"]["cam"], salient, batch["labels"])

    def background_distance_loss(self, batch, outputs, label):
        """Evidence outside of it is alike (I2CRC, eq. 5)."""
        salient, valid = self.saliency(batch)
        return losses.class_agnostic_distance(
            outputs["view"]["cam"], valid - salient, batch["labels"]
        )

    def class_distance_loss(self, batch, outputs, label):
        """And the two differ (I2CRC, eq. 6)."""
        salient, valid = self.saliency(batch)
        return losses.class_specific_distance(
            outputs["view"]["cam"], salient, batch["labels"], valid
        )

    def saliency(self, batch):
        """Saliency and valid area, float32 `[B,S,S,1]`. Padding is neither."""
        size = batch["image"].shape[1:3]
        valid = ops.cast(inside(batch["valid_box"], size), "float32")[..., None]
        return batch["saliency"] * valid, valid

    def smallest_view(self, side, reads):
        """Side of the smallest image that the network sees of a crop, where terms need ``reads``.

        Args:
            side: int, of the crop.
            reads: as of :class:`~keras_wsss.methods.schedule.Phase`.
        """
        scales = self.settings.cam.scales if hasattr(self.settings, "cam") else ()
        return min(scaled(side, scale) for scale in (1, *(scales if "maps" in reads else ())))

    def enlarged(self, logits, images):
        """Decoder logits at the size of the images."""
        return resize(logits, images.shape[1:3], align_corners=self.align_corners)

    # ---- evaluation --------------------------------------------------------------------------

    def describe(self, batch):
        """CAM and pseudo labels of tagged images of any size; they show what the tags are worth.

        Args:
            batch: dict with ``image``, ``labels`` (tags) and ``valid_box``.

        Returns:
            :class:`~keras_wsss.methods.labeller.Described`: ``cam``, ``label``, ``full``.
        """
        return self.labeller.describe(self.checked_batch(batch, {"labels"}))

    def test_step(self, batch):
        """Decoder mIoU on a batch with ``mask``, for which no tags are used, and the tags' loss.

        Without ``mask`` it is the tags' loss alone. Images are seen as the report and ``segment``
        see them (``square``, ``working_size``).
        """
        from keras_wsss.prediction import as_trained  # TensorFlow's, as this step is

        batch = self.checked_batch(batch)
        needed = self.needed_to_score(batch)
        self.checked_batch(batch, needed)
        seen = as_trained(batch["image"], self.square, self.working_size)
        outputs, logs = self(seen, training=False), {}
        if "labels" in batch and "classification" in self.trackers:
            loss = losses.multilabel_soft_margin(batch["labels"], outputs["image_logits"])
            self.trackers["classification"].update_state(loss)
            logs["classification"] = self.trackers["classification"].result()
        if not needed:
            logits = resize(outputs["segmentation_logits"], ops.shape(batch["mask"])[1:3])
            self.mean_iou.update_state(batch["mask"], ops.argmax(logits, axis=-1))
            logs["miou"] = self.mean_iou.result()
        return logs
