"""RRM: learn from reliable regions, and let colour carry their labels further (arXiv 1911.08039).

Few pixels are labelled, but rightly: those on which two backgrounds, a refinement of the CAM and
its own ranking agree. An energy on all pixels spreads them over what looks alike.
"""

import keras
from keras import ops

from keras_wsss.errors import ConfigError
from keras_wsss.methods.base import WSSSModel, scaled
from keras_wsss.ops.reliability import (
    crf_winners,
    reliable_label,
    reliable_pseudo_label,
    scaled_cam,
)
from keras_wsss.ops.resize import resize

LABELLED = {"segmentation", "energy"}  # terms that read the pseudo label


@keras.saving.register_keras_serializable("keras_wsss")
class RRM(WSSSModel):
    """RRM in one stage; with ``parity: true`` it follows the released code.

    Losses (weights and start in the configuration; 3.x are sections of rrm.md):
    ``classification`` (3.1), ``segmentation`` (the sum of the cross-entropies of background and of
    foreground) and ``energy`` (both 3.3).

    Example:

    >>> model = build_model(load_config("voc_rrm", ["data.root=VOC2012"]), num_classes=20)
    >>> model.compile(build_optimizer(config.optimizer, config.training.steps))
    >>> model.fit(training_dataset(split, config.data, seed=1, steps=20000, batch_size=4))
    """

    def forward(self, batch, active):
        images = batch["image"]
        view = self(images, training=True, request=["cam"])
        if not active & LABELLED:
            return {"view": view}
        cam = self.mean_cam(images, batch["labels"], view["cam"], training=self.settings.parity)
        return {"view": view, "cam": cam}

    def mean_cam(self, images, tags, own_cam, training=False):
        """ReLU'd CAM averaged over the scales (no mirror image), ``scaled_cam`` `[B,H,W,C]`.

        rrm.md section 2; no gradient. ``own_cam`` is the raw CAM of the images at scale 1.
        ``training`` keeps the encoder's random depth on, as in the released code.
        """
        height, width = ops.shape(images)[1:3]
        size, total = ops.shape(own_cam)[1:3], 0.0
        for scale in self.settings.cam.scales:
            cam = own_cam
            if scale != 1:
                view = resize(images, (scaled(height, scale), scaled(width, scale)))
                cam = self.classifier.cam(self.encode(view, training=training)[0][-1])
            total = total + resize(ops.relu(cam), size)
        return ops.stop_gradient(scaled_cam(resize(total, (height, width)), tags))

    def pseudo_labels(self, batch, outputs, active):
        if active & LABELLED:
            return self.reliable_labels(batch, outputs["cam"])[0]
        return None

    def reliable_labels(self, batch, cam):
        """Label of the reliable pixels, and the refined class of every pixel, int32 `[B,H,W]`."""
        settings, tags = self.settings.pseudo_label, batch["labels"]
        if self.settings.refiner != "crf":
            return self.refined(
                reliable_pseudo_label, batch, cam, tags, confidence=settings.confidence
            )
        share, winner = crf_winners(cam, tags, batch["image"], settings.iterations)
        label = reliable_label(share, winner, cam, tags, batch["valid_box"], settings.confidence)
        return label, winner[..., 0]

    def loss_terms(self, batch, outputs, labels, active):
        view = outputs["view"]
        terms = self.common_terms(batch, view, active)
        if "cam" not in outputs:
            return terms
        logits = resize(view["segmentation_logits"], labels.shape[1:3])
        terms |= self.decoder_terms(batch, labels, logits, active)
        if "segmentation" in active:
            terms["segmentation"] *= 2  # the sum of both sides, not their mean
        return terms

    def seeds(self, batch):
        own_cam = self.gradient_free(batch["image"], ("cam",), training=False)["cam"]
        cam = self.mean_cam(batch["image"], batch["labels"], own_cam)
        return cam, *self.reliable_labels(batch, cam)

    def compile(self, optimizer="rmsprop", xla=False, **kwargs):
        if xla and self.settings.refiner == "crf":
            raise ConfigError(
                "pseudo_label.refiner: crf runs on the host and cannot be compiled; set "
                "training.xla to false, or refine with par"
            )
        super().compile(optimizer, xla, **kwargs)
