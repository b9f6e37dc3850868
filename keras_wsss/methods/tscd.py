"""TSCD: self correspondence distillation and variation-aware refinement (arXiv 2302.13765).

A CAM tells, for any two places of an image, how alike their class evidence is. TSCD distils this
correspondence into the decoder, between the image and a small view of it, beside a decoder loss
on CAMs cleaned by VARM and an affinity loss on the last attention maps.
"""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.ops.resize import resize

SMALL_VIEW = 0.3  # side of the second view, relative to the crop
POINTS = 40 * 40  # places per view whose correspondence is distilled

# Terms that read the pseudo label, and terms that compare the two views.
LABELLED = {"segmentation", "affinity", "energy"}
TWO_VIEWS = {"correspondence", "equivariance"}


@keras.saving.register_keras_serializable("keras_wsss")
class TSCD(WSSSModel):
    """TSCD end to end; with ``parity: true`` it follows the released code, bugs included.

    Losses (weights and start in the configuration; 3.x are sections of tscd.md):
    ``classification`` (3.1), ``segmentation`` (3.4), ``affinity`` (3.3), ``correspondence``
    (3.5), ``equivariance`` (3.6; a constant without gradient in the released code) and
    ``energy`` (3.7).

    Example:

    >>> model = build_model(load_config("voc_tscd", ["data.root=VOC2012"]), num_classes=20)
    >>> model.compile(build_optimizer(config.optimizer, config.training.steps))
    >>> model.fit(training_dataset(split, config.data, seed=1, steps=20000, batch_size=4))
    """

    @property
    def symmetric_affinity(self):
        return not self.settings.parity

    def forward(self, batch, active):
        images = batch["image"]
        view = self.gradient_pass(images, active)
        if not active & (LABELLED | TWO_VIEWS):
            return {"view": view}
        outputs = {"view": view}
        outputs["cam"], outputs["large_view"] = self.cam_and_large_view(images, view)
        if active & TWO_VIEWS:
            height, width = images.shape[1:3]
            size = int(SMALL_VIEW * height), int(SMALL_VIEW * width)
            small = resize(images, size, align_corners=True)
            outputs["small_view"] = self(small, training=True, request=["cam"])
            outputs["small_cam"], _ = self.cam_and_large_view(small, outputs["small_view"])
        return outputs

    def pseudo_labels(self, batch, outputs, active):
        if active & LABELLED:
            cam, large_view = outputs["cam"], outputs["large_view"]
            return self.decoder_labels(batch, cam, large_view, "propagation" in active)
        return None

    def loss_terms(self, batch, outputs, labels, active):
        view, tags, size = outputs["view"], batch["labels"], batch["image"].shape[1:3]
        terms = self.common_terms(batch, view, active)
        if "cam" not in outputs:
            return terms

        logits = resize(view["segmentation_logits"], size, align_corners=True)
        terms |= self.decoder_terms(batch, labels, logits, active)
        if "affinity" in active:
            terms["affinity"] = self.affinity_term(labels, view)
        if "correspondence" in active:
            cam, small_cam = outputs["cam"], outputs["small_cam"]
            if not self.settings.parity:
                # Absent classes are stretched to [0,1) like present ones: noise for the cosine.
                present = tags[:, None, None, :]
                cam, small_cam = cam * present, small_cam * present
            small_logits = resize(
                outputs["small_view"]["segmentation_logits"],
                small_cam.shape[1:3],
                align_corners=True,
            )
            terms["correspondence"] = losses.correspondence_distillation(
                cam, small_cam, logits, small_logits, *self.draw_points(ops.shape(tags)[0])
            )
        if "equivariance" in active and self.settings.parity:
            terms["equivariance"] = losses.cam_equivariance_released(
                outputs["cam"], outputs["small_cam"]
            )
        elif "equivariance" in active:
            terms["equivariance"] = losses.cam_equivariance(
                view["cam"], outputs["small_view"]["cam"], tags
            )
        return terms

    def draw_points(self, batch_size):
        """Two unrelated sets of places, float32 `[B,POINTS,2]`, uniform in [-1,1]."""
        shape = (batch_size, POINTS, 2)
        return tuple(keras.random.uniform(shape, -1.0, 1.0, seed=self.random) for _ in range(2))
