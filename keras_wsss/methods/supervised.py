"""The upper bound: the same network trained with hand-drawn masks."""

import keras

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.ops.resize import resize


@keras.saving.register_keras_serializable("keras_wsss")
class Supervised(WSSSModel):
    """Cross-entropy on masks; every weakly supervised score is a percentage of this one's.

    Its batches hold ``mask``. ``classification`` keeps the image classifier (and so the CAM
    scores of the report) trained; ``segmentation`` is the plain cross-entropy.
    """

    needs_masks = True

    def forward(self, batch, active):
        return {"view": self(batch["image"], training=True, request=["cam"])}

    def pseudo_labels(self, batch, outputs, active):
        return batch["mask"]

    def loss_terms(self, batch, outputs, labels, active):
        terms = self.common_terms(batch, outputs["view"], active)
        if "segmentation" in active:
            logits = resize(outputs["view"]["segmentation_logits"], labels.shape[1:3])
            terms["segmentation"] = losses.cross_entropy(labels, logits)
        return terms
