"""The upper bound: the same network trained with hand-drawn masks."""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel, scaled
from keras_wsss.ops.resize import resize


@keras.saving.register_keras_serializable("keras_wsss")
class Supervised(WSSSModel):
    """Cross-entropy on masks; every weakly supervised score is a percentage of this one's.

    Its batches hold ``mask``. ``classification`` keeps the image classifier (and so the CAM
    scores of the report) trained; ``segmentation`` is the plain cross-entropy. With
    ``losses.segmentation.extra_scales`` it is the sum of the cross-entropies of every size of the
    image and of the maximum over the sizes, each on its own grid: DeepLabV2's recipe, which I2CRC
    trains on pseudo labels (i2crc.md, sections 2.2 and 3). ``evaluation.scales`` then fuses the
    same sizes by the maximum.
    """

    needs_masks = True

    def forward(self, batch, active):
        images = batch["image"]
        view = self(images, training=True, request=["cam"])
        logits = [view["segmentation_logits"]]
        if "segmentation" in active:
            height, width = images.shape[1:3]
            for scale in self.loss_settings["segmentation"].extra_scales:
                other = resize(images, (scaled(height, scale), scaled(width, scale)))
                logits.append(self(other, training=True)["segmentation_logits"])
        return {"view": view, "logits": logits}

    def pseudo_labels(self, batch, outputs, active):
        return batch["mask"]

    def loss_terms(self, batch, outputs, labels, active):
        terms = self.common_terms(batch, outputs["view"], active)
        if "segmentation" in active:
            terms["segmentation"] = multi_scale_cross_entropy(labels, outputs["logits"])
        return terms


def multi_scale_cross_entropy(labels, logits):
    """Cross-entropy of one view at the size of its labels, or of several on their own grids.

    Args:
        labels: int32 `[B,H,W]`, 255 = ignored.
        logits: list of float `[B,h,w,K]`, the image's own size first. Several are joined by their
            maximum on the first one's grid, and each grid reads the nearest labels.

    Returns:
        float32 scalar.
    """
    if len(logits) == 1:
        return losses.cross_entropy(labels, resize(logits[0], labels.shape[1:3]))
    grid = logits[0].shape[1:3]
    largest = logits[0]
    for other in logits[1:]:
        largest = ops.maximum(largest, resize(other, grid))
    total = 0.0
    for view in [*logits, largest]:
        nearest = ops.image.resize(labels[..., None], view.shape[1:3], interpolation="nearest")
        total = total + losses.cross_entropy(nearest[..., 0], view)
    return total
