"""I2CRC: saliency-guided relation constraints on the classifier (arXiv 2206.09554).

A classifier's evidence gathers on the most telling part of an object. On images of one tag,
saliency says where the whole object is: its evidence is drawn together, that of the background
likewise, and the two apart. This is the first of several trainings (``stages``): its class
activation maps and saliency become label files (:mod:`keras_wsss.ops.saliency_labels`), on which a
segmentation network is trained as if they were masks.
"""

import keras

from keras_wsss.methods.base import WSSSModel


@keras.saving.register_keras_serializable("keras_wsss")
class I2CRC(WSSSModel):
    """The classifier of I2CRC; its decoder is not trained and not scored.

    Losses (i2crc.md, section 3): ``classification``, ``object_distance``,
    ``background_distance`` and ``class_distance``.

    Example:

    >>> model = build_model(config.stage_configs()[0][1], num_classes=20)
    >>> model(images, request=["cam"])["cam"].shape
    (2, 32, 32, 20)
    """

    def forward(self, batch, active):
        features, _ = self.encode(batch["image"], training=True)
        return {
            "image_logits": self.classifier.image_logits(features[-1]),
            "cam": self.classifier.cam(features[-1]),
        }

    def pseudo_labels(self, batch, outputs, active):
        return None  # files, made once the training has ended

    def loss_terms(self, batch, outputs, labels, active):
        return self.common_terms(batch, outputs, active)
