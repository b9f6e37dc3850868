"""AFA: affinity from attention (Ru et al., CVPR 2022, arXiv 2203.02664).

Labels made from the CAM tell which places of an image belong together. The attention learns that,
and after a warm-up the learned affinity spreads the CAM over alike places before it becomes the
label of the decoder.
"""

import keras

from keras_wsss.methods.base import WSSSModel
from keras_wsss.ops.resize import resize

LABELLED = {"segmentation", "affinity", "energy"}  # terms that read pseudo labels


@keras.saving.register_keras_serializable("keras_wsss")
class AFA(WSSSModel):
    """AFA end to end.

    Losses (3.x are sections of afa.md): ``classification`` (3.1), ``segmentation`` (3.5),
    ``affinity`` (3.3) and ``energy`` (3.6, off in the shipped configurations). From
    ``pseudo_label.propagation_start`` the decoder's labels come from the propagated CAM (3.4),
    before that from the CAM itself (3.2).

    Example:

    >>> model = build_model(load_config("voc_afa", ["data.root=VOC2012"]), num_classes=20)
    """

    def forward(self, batch, active):
        images = batch["image"]
        view = self.gradient_pass(images, active)
        if not active & LABELLED:
            return {"view": view}
        cam, large_view = self.cam_and_large_view(images, view)
        return {"view": view, "cam": cam, "large_view": large_view}

    def pseudo_labels(self, batch, outputs, active):
        """Labels of the decoder and, on VOC always those of the CAM, of the affinity."""
        if not active & LABELLED:
            return None
        from_cam = self.refined_labels(batch, outputs["cam"])
        if "propagation" not in active:
            return {"segmentation": from_cam, "affinity": from_cam}
        spread = self.propagated_labels(batch, outputs["cam"], outputs["large_view"])
        of_affinity = {"cam": from_cam, "propagated": spread}
        return {"segmentation": spread, "affinity": of_affinity[self.affinity_labels]}

    @property
    def affinity_labels(self):
        return self.loss_settings["affinity"].labels

    def loss_terms(self, batch, outputs, labels, active):
        view = outputs["view"]
        terms = self.common_terms(batch, view, active)
        if "affinity" in active:
            terms["affinity"] = self.affinity_term(labels["affinity"], view)
        if labels is not None:
            logits = resize(view["segmentation_logits"], batch["image"].shape[1:3])
            terms |= self.decoder_terms(batch, labels["segmentation"], logits, active)
        return terms
