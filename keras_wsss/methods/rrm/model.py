"""RRM: learn from reliable regions, and let colour carry their labels further (arXiv 1911.08039).

Few pixels are labelled, but rightly: those on which two backgrounds, a refinement of the CAM and
its own ranking agree. An energy on all pixels spreads them over what looks alike.
"""

import keras
from keras import ops

from keras_wsss.errors import ConfigError
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.labeller import Described, Labeller, scaled
from keras_wsss.ops.reliability import (
    crf_winners,
    reliable_label,
    reliable_pseudo_label,
    scaled_cam,
)
from keras_wsss.ops.resize import resize


class ReliableLabeller(Labeller):
    """Labels where refined scores and CAM agree that they are sure (RRM, eq. 3 to 9)."""

    def maps(self, batch, view=None, events=()):
        images, tags = batch["image"], batch["labels"]
        if view is None:
            return {"cam": self.mean_cam(images, tags, self.view(images, ("cam",))["cam"])}
        return {"cam": self.mean_cam(images, tags, view["cam"], training=self.settings.parity)}

    def mean_cam(self, images, tags, own_cam, training=False):
        """ReLU'd CAM averaged over the scales (no mirror image), ``scaled_cam`` `[B,H,W,C]`.

        RRM, eq. 1 and 2. ``own_cam`` is the raw CAM of the images at scale 1. ``training`` keeps
        the encoder's random depth on, as in the released code.
        """
        height, width = ops.shape(images)[1:3]
        size, total = ops.shape(own_cam)[1:3], 0.0
        for scale in self.settings.cam.scales:
            cam = own_cam
            if scale != 1:
                view = resize(images, (scaled(height, scale), scaled(width, scale)))
                cam = self.network.outputs(view, ("cam",), training)["cam"]
            total = total + resize(ops.relu(cam), size)
        return ops.stop_gradient(scaled_cam(resize(total, (height, width)), tags))

    def label(self, batch, maps, propagated=False):
        return self.reliable(batch, maps["cam"])[0]

    def describe(self, batch):
        cam = self.maps(batch)["cam"]
        return Described(cam, *self.reliable(batch, cam))

    def reliable(self, batch, cam):
        """Label of the reliable pixels, and the refined class of every pixel, int32 `[B,H,W]`."""
        settings, tags = self.settings.pseudo_label, batch["labels"]
        if settings.refiner != "crf":
            return self.refined(
                reliable_pseudo_label, batch, cam, tags, confidence=settings.confidence
            )
        share, winner = crf_winners(cam, tags, batch["image"], settings.iterations)
        label = reliable_label(share, winner, cam, tags, batch["valid_box"], settings.confidence)
        return label, winner[..., 0]


@keras.saving.register_keras_serializable("keras_wsss")
class RRM(WSSSModel):
    """RRM in one stage; with ``parity: true`` it follows the released code.

    Losses (weights and start in the configuration; numbers are equations of RRM):
    ``classification``, ``segmentation`` (10; the sum of the cross-entropies of background and of
    foreground) and ``energy`` (13).

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> RRM(classes=["cat", "dog"], backbone="efficientnet_lite0").class_names
    ('cat', 'dog')
    """

    method = "rrm"
    labeller_class = ReliableLabeller

    def segmentation_loss(self, batch, outputs, label):
        """The sum of both sides, not their mean."""
        return 2 * super().segmentation_loss(batch, outputs, label)

    def compile(self, optimizer=None, *, jit_compile=False, **options):
        compiled = jit_compile and jit_compile != "auto"
        if compiled and self.settings.pseudo_label.refiner == "crf":
            raise ConfigError(
                "pseudo_label.refiner: crf runs on the host and cannot be compiled; set "
                "training.xla to false, or refine with par"
            )
        super().compile(optimizer, jit_compile=jit_compile, **options)
