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

    Losses (I2CRC, eq. 4 to 6), which all methods share: ``classification``,
    ``object_distance``, ``background_distance`` and ``class_distance``.

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> model = I2CRC(classes=20, backbone="vgg16", weights=None)
    >>> ops.shape(model(ops.ones((1, 64, 64, 3)), request=["cam"])["cam"])
    (1, 8, 8, 20)
    """

    method = "i2crc"

    def forward(self, batch, phase):
        """The pass of the classifier alone."""
        return {"view": self.outputs(batch["image"], ("image_logits", "cam"), training=True)}
