"""The upper bound: the same network trained with hand-drawn masks."""

import keras

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.labeller import scaled
from keras_wsss.ops.resize import resize


@keras.saving.register_keras_serializable("keras_wsss")
class Supervised(WSSSModel):
    """Cross-entropy on masks; every weakly supervised score is a percentage of this one's.

    Its batches hold ``mask``. ``classification`` keeps the image classifier (and so the CAM
    scores of the report) trained; ``segmentation`` is the plain cross-entropy. With
    ``losses.segmentation.extra_scales`` it is the sum of the cross-entropies of every size of the
    image and of the maximum over the sizes, each on its own grid: DeepLabV2's recipe, which I2CRC
    trains on pseudo labels (I2CRC, eq. 2 and 3). ``evaluation.scales`` then fuses the
    same sizes by the maximum.

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> train, val = wsss.data.load(kind="shapes", shapes={"train_images": 2, "image_size": 64})
    >>> model = Supervised(classes=train.class_names, backbone="mit_tiny", weights=None)
    >>> model.compile(steps=1)
    >>> batches = train.batches(crop=64, batch_size=2, masks=True)
    >>> sorted(model.fit(batches, epochs=1, verbose=0).history)
    ['classification', 'loss', 'segmentation']
    """

    method = "supervised"

    def forward(self, batch, phase):
        outputs = super().forward(batch, phase)
        if "segmentation" in phase.terms:
            height, width = batch["image"].shape[1:3]
            sizes = self.settings.losses["segmentation"].extra_scales
            others = [(scaled(height, scale), scaled(width, scale)) for scale in sizes]
            outputs["other_sizes"] = [
                self(resize(batch["image"], size), training=True)["segmentation_logits"]
                for size in others
            ]
        return outputs

    def segmentation_loss(self, batch, outputs, label):
        logits = [outputs["view"]["segmentation_logits"], *outputs["other_sizes"]]
        return losses.multi_scale_cross_entropy(batch["mask"], logits)
