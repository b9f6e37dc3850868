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


@keras.saving.register_keras_serializable("keras_wsss")
class TSCD(WSSSModel):
    """TSCD end to end; with ``parity: true`` it follows the released code, bugs included.

    Losses (weights and start in the configuration; numbers are equations of TSCD):
    ``classification``, ``segmentation`` and ``affinity`` (AFA, eq. 16 to 19),
    ``correspondence`` (9), ``equivariance`` (10; a constant without gradient in the released
    code) and ``energy`` (RRM, eq. 13).

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> model = TSCD(classes=["cat", "dog"], backbone="efficientnet_lite0")
    >>> sorted(model(ops.ones((1, 64, 64, 3))))
    ['image_logits', 'segmentation_logits']
    """

    method = "tscd"
    released_symmetric = False
    align_corners = True

    def forward(self, batch, phase):
        outputs = super().forward(batch, phase)
        if "small_view" in phase.reads:
            images = batch["image"]
            size = [int(SMALL_VIEW * side) for side in images.shape[1:3]]
            small = resize(images, size, align_corners=True)
            outputs["small_view"] = self(small, training=True, request=["cam"])
            outputs["small_cam"], _ = self.labeller.cam_and_large_view(small, outputs["small_view"])
        return outputs

    def smallest_view(self, side, reads):
        small = int(SMALL_VIEW * side) if "small_view" in reads else side
        return super().smallest_view(small, reads)

    def correspondence_loss(self, batch, outputs, label):
        cam, small_cam = outputs["cam"], outputs["small_cam"]
        if not self.settings.parity:
            # Absent classes are stretched to [0,1) like present ones: noise for the cosine.
            present = batch["labels"][:, None, None, :]
            cam, small_cam = cam * present, small_cam * present
        small_logits = self.enlarged(outputs["small_view"]["segmentation_logits"], small_cam)
        points = self.draw_points(ops.shape(cam)[0])
        return losses.correspondence_distillation(
            cam, small_cam, outputs["logits"], small_logits, *points
        )

    def equivariance_loss(self, batch, outputs, label):
        if self.settings.parity:
            return losses.cam_equivariance_released(outputs["cam"], outputs["small_cam"])
        return losses.cam_equivariance(
            outputs["view"]["cam"], outputs["small_view"]["cam"], batch["labels"]
        )

    def draw_points(self, batch_size):
        """Two unrelated sets of places, float32 `[B,POINTS,2]`, uniform in [-1,1]."""
        shape = (batch_size, POINTS, 2)
        return tuple(keras.random.uniform(shape, -1.0, 1.0, seed=self.random) for _ in range(2))
