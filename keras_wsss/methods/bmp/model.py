"""BMP: branches mutual promotion (Zhu et al., arXiv 2308.04949).

Two branches draw a segmentation map: the classifier applied at every place (C) and the decoder
(S). Labels made from the CAM teach S, and what S is sure of teaches C. They also lend each other
what they know best: C's objectness gates the features that the decoder reads, and S's background
becomes the background against which CAMs are turned into labels.
"""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.labeller import Described, Labeller
from keras_wsss.ops.cam import fuse_multi_scale, fuse_segmentation
from keras_wsss.ops.label import inside
from keras_wsss.ops.pseudo_label import background_aware_label, confident_classes
from keras_wsss.ops.resize import resize


class BackgroundAwareLabeller(Labeller):
    """Labels of the CAM against the background that the decoder sees (BSP; BMP, eq. 5 and 6).

    Only with ``pseudo_label.propagation: background_aware`` and once propagation has begun; before
    that, and with another propagation, labels are AFA's.
    """

    @property
    def background_aware(self):
        return self.settings.pseudo_label.propagation == "background_aware"

    def maps(self, batch, view=None, events=()):
        """Fused CAM, with the fused decoder maps or the view that its propagation needs."""
        if not self.background_aware or "propagation" not in events:
            return super().maps(batch, view, events)
        images = batch["image"]
        size = ops.shape(images)[1:3]
        released = self.settings.parity and view is not None
        views = self.views(images, ("cam", "segmentation_logits"), training=released)
        logits = [each["segmentation_logits"] for each in views]
        return {
            "cam": fuse_multi_scale([each["cam"] for each in views], size),
            "segmentation": fuse_segmentation(logits, size),
        }

    def view(self, images, request, training=False):
        """The released network returns maps of its input's size, which are then fused."""
        outputs = super().view(images, request, training)
        if self.settings.parity and "affinity" not in request:
            outputs = {name: resize(x, ops.shape(images)[1:3]) for name, x in outputs.items()}
        return outputs

    def label(self, batch, maps, propagated=False, confidence=None, **scores):
        if not (propagated and self.background_aware):
            return super().label(batch, maps, propagated, **scores)
        if confidence is None:
            confidence = self.settings.pseudo_label.confidence
        background, cam = maps["segmentation"][..., 0], maps["cam"]
        return self.refined(
            background_aware_label, batch, background, cam, batch["labels"], confidence=confidence
        )

    def describe(self, batch):
        if not self.background_aware:
            return super().describe(batch)
        maps = self.maps(batch, events={"propagation"})
        full = self.label(batch, maps, propagated=True, confidence=0.0)
        return Described(maps["cam"], self.label(batch, maps, propagated=True), full)


@keras.saving.register_keras_serializable("keras_wsss")
class BMP(WSSSModel):
    """BMP end to end.

    Losses (eq. 7 to 10): ``classification``, ``c2s`` (CAM to segmentation), ``s2c`` (segmentation
    to CAM) and ``affinity``. With ``pseudo_label.propagation: background_aware`` the labels of
    ``c2s`` come from the CAM against the decoder's background (BSP, eq. 6) from
    ``propagation_start`` on; before that, and always for ``affinity``, they are three-way labels.

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> model = BMP(classes=["cat", "dog"], backbone="efficientnet_lite0")
    >>> model.compile(steps=480)  # then model.fit(train.batches(crop=224, batch_size=16), epochs=8)
    """

    method = "bmp"
    labeller_class = BackgroundAwareLabeller

    # ---- network: object-aware decoding (eq. 2) -----------------------------------------------

    def decode(self, features, size, training=None):
        """Decoder logits of features that the classifier's objectness has gated."""
        if self.settings.heads.object_gate:
            gate = self.objectness(features[-1], size)
            features = [x * ops.cast(resize(gate, ops.shape(x)[1:3]), x.dtype) for x in features]
        return self.decoder(features, training=training)

    def objectness(self, features, size):
        """Largest class probability of every pixel, float32 `[B,H,W,1]`, no gradient."""
        evidence = resize(ops.stop_gradient(self.classifier.cam(features)), size)
        return ops.sigmoid(ops.max(evidence, axis=-1, keepdims=True))

    # ---- a training step ----------------------------------------------------------------------

    def pseudo_labels(self, batch, outputs, phase):
        """Labels of the CAM for ``c2s`` and ``affinity``, of the decoder for ``s2c``."""
        labels = super().pseudo_labels(batch, outputs, phase)
        if "affinity" in labels and "propagation" in phase.events:
            labels["affinity"] = self.labeller.label(batch, outputs)
        if "s2c" in phase.terms:
            term, valid = (
                self.settings.losses["s2c"],
                inside(batch["valid_box"], batch["image"].shape[1:3]),
            )
            labels["s2c"] = confident_classes(
                outputs["logits"], valid, term.threshold, term.threshold_on
            )
        return labels

    def c2s_loss(self, batch, outputs, label):
        form = self.settings.losses["c2s"].form
        return losses.class_to_segmentation(label, outputs["logits"], form)

    def s2c_loss(self, batch, outputs, label):
        evidence = resize(outputs["view"]["cam"], batch["image"].shape[1:3])
        return losses.segmentation_to_class(label, evidence, self.settings.losses["s2c"].form)
