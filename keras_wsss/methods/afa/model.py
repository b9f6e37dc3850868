"""AFA: affinity from attention (Ru et al., CVPR 2022, arXiv 2203.02664).

Labels made from the CAM tell which places of an image belong together. The attention learns that,
and after a warm-up the learned affinity spreads the CAM over alike places before it becomes the
label of the decoder.
"""

import keras

from keras_wsss.methods.base import WSSSModel


@keras.saving.register_keras_serializable("keras_wsss")
class AFA(WSSSModel):
    """AFA end to end.

    Losses (numbers are equations of AFA): ``classification`` (16), ``segmentation`` (17),
    ``affinity`` (19) and ``energy`` (RRM, eq. 13; off in the shipped configurations). From
    ``pseudo_label.propagation_start`` the decoder's labels come from the propagated CAM (13 to 15),
    before that from the CAM itself (8).

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> AFA(classes=["cat", "dog"], backbone="efficientnet_lite0").class_names
    ('cat', 'dog')
    """

    method = "afa"

    def pseudo_labels(self, batch, outputs, phase):
        """Labels of the decoder and, on VOC always those of the CAM itself, of the affinity."""
        labels = super().pseudo_labels(batch, outputs, phase)
        if "affinity" in labels and "propagation" in phase.events:
            if self.settings.losses["affinity"].labels == "cam":
                labels["affinity"] = self.labeller.label(batch, outputs)
        return labels
