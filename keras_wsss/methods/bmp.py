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
from keras_wsss.ops.box import background_aware_label
from keras_wsss.ops.cam import fuse_multi_scale, fuse_segmentation, inside
from keras_wsss.ops.resize import resize

LABELLED = {"c2s", "affinity"}  # terms that read pseudo labels


@keras.saving.register_keras_serializable("keras_wsss")
class BMP(WSSSModel):
    """BMP end to end.

    Losses (bmp.md 3.4): ``classification``, ``c2s`` (CAM to segmentation), ``s2c`` (segmentation
    to CAM) and ``affinity``. With ``pseudo_label.propagation: background_aware`` the labels of
    ``c2s`` come from the CAM against the decoder's background (BSP, 3.2) from
    ``propagation_start`` on; before that, and always for ``affinity``, they are three-way labels.

    Example:

    >>> model = build_model(load_config("voc_bmp", ["data.root=VOC2012"]), num_classes=20)
    """

    # ---- network: object-aware decoding (2.2) -------------------------------------------------

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

    def forward(self, batch, active):
        images = batch["image"]
        view = self.gradient_pass(images, active)
        outputs = {"view": view}
        if active & LABELLED:
            outputs |= self.maps(images, view, "propagation" in active)
        return outputs

    def maps(self, images, view=None, propagated=True):
        """Fused CAM, and what propagation needs: fused decoder maps or a view with affinity."""
        if not propagated or self.settings.pseudo_label.propagation != "background_aware":
            cam, large_view = self.cam_and_large_view(images, view)
            return {"cam": cam, "large_view": large_view}
        size = ops.shape(images)[1:3]
        released = self.settings.parity and view is not None
        views = self.multi_scale_views(images, ("cam", "segmentation_logits"), training=released)
        return {
            "cam": fuse_multi_scale([each["cam"] for each in views], size),
            "segmentation": fuse_segmentation(
                [each["segmentation_logits"] for each in views], size
            ),
        }

    def gradient_free(self, images, request, training):
        """The released network returns maps of its input's size, which are then fused."""
        outputs = super().gradient_free(images, request, training)
        if self.settings.parity and "affinity" not in request:
            outputs = {name: resize(x, ops.shape(images)[1:3]) for name, x in outputs.items()}
        return outputs

    def pseudo_labels(self, batch, outputs, active):
        """Labels of each term that needs some."""
        labels = {}
        if active & LABELLED:
            labels["affinity"] = labels["c2s"] = self.refined_labels(batch, outputs["cam"])
            if "propagation" in active:
                labels["c2s"] = self.propagated(batch, outputs)
        if "s2c" in active:
            size = batch["image"].shape[1:3]
            term = self.loss_settings["s2c"]
            labels["s2c"] = losses.confident_classes(
                resize(outputs["view"]["segmentation_logits"], size),
                inside(batch["valid_box"], size),
                term.threshold,
                term.threshold_on,
            )
        return labels

    def propagated(self, batch, outputs, confidence=None, **scores):
        """Labels of the CAM against the decoder's background, or spread by affinity."""
        if "segmentation" not in outputs:
            return self.propagated_labels(batch, outputs["cam"], outputs["large_view"], **scores)
        if confidence is None:
            confidence = self.settings.pseudo_label.confidence
        background, cam = outputs["segmentation"][..., 0], outputs["cam"]
        return self.refined(
            background_aware_label, batch, background, cam, batch["labels"], confidence=confidence
        )

    def loss_terms(self, batch, outputs, labels, active):
        view, size = outputs["view"], batch["image"].shape[1:3]
        terms = self.common_terms(batch, view, active)
        if "c2s" in active:
            logits = resize(view["segmentation_logits"], size)
            form = self.loss_settings["c2s"].form
            terms["c2s"] = losses.class_to_segmentation(labels["c2s"], logits, form)
        if "s2c" in active:
            logits, form = resize(view["cam"], size), self.loss_settings["s2c"].form
            terms["s2c"] = losses.segmentation_to_class(labels["s2c"], logits, form)
        if "affinity" in active:
            terms["affinity"] = self.affinity_term(labels["affinity"], view)
        return terms

    # ---- evaluation ---------------------------------------------------------------------------

    def seeds(self, batch):
        settings = self.settings.pseudo_label
        if settings.propagation != "background_aware":
            return super().seeds(batch)
        outputs = self.maps(batch["image"])
        full = self.propagated(batch, outputs, confidence=0.0)
        return outputs["cam"], self.propagated(batch, outputs), full
