"""From tags to pseudo labels: CAMs of several views, spread and refined, against a background."""

import functools
from typing import Any, NamedTuple

from keras import ops

from keras_wsss.config.sections import BY_AFFINITY
from keras_wsss.ops import refine
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.affinity_processing import affinity_processing
from keras_wsss.ops.cam import fuse_multi_scale, refined_pseudo_label
from keras_wsss.ops.pseudo_label import propagated_pseudo_label
from keras_wsss.ops.resize import resize

REFINERS = {
    "par": refine.pixel_adaptive_refinement,
    "varm": refine.variation_aware_refinement,
}

# XLA compiles once per size: right for training crops, wrong for photographs of any size.
_compiled = functools.cache(compiled)


class Described(NamedTuple):
    """What the tags of images are worth, for reports.

    Attributes:
        cam: float32 `[B,H,W,C]` in 0..1.
        label: int32 `[B,H,W]`, the label as in training, 255 = ignored.
        full: int32 `[B,H,W]`, a label without ignored pixels.
    """

    cam: Any
    label: Any
    full: Any


class Labeller:
    """Makes three-way labels from the CAM of a network; gradients never pass.

    A method with labels of its own overrides :meth:`maps` (the passes that they need),
    :meth:`label` (from maps to labels) and :meth:`describe` (both, for reports).

    Args:
        network: :class:`~keras_wsss.methods.network.Network`.
        settings: :class:`~keras_wsss.config.ModelConfig` with ``cam`` and ``pseudo_label``.

    Example:

    >>> model = wsss.TSCD(2, backbone="mit_tiny", weights=None, cam={"scales": [1.0]})
    >>> batch = {"image": ops.ones((1, 64, 64, 3)), "labels": ops.ones((1, 2))}
    >>> batch["valid_box"] = ops.convert_to_tensor([[0, 64, 0, 64]])
    >>> described = Labeller(model, model.settings).describe(batch)
    >>> ops.shape(described.cam), ops.shape(described.label)
    ((1, 64, 64, 2), (1, 64, 64))
    """

    def __init__(self, network, settings):
        self.network = network
        self.settings = settings

    # ---- what a method overrides ------------------------------------------------------------

    def maps(self, batch, view=None, events=()):
        """All that :meth:`label` reads beside the batch.

        Args:
            batch: dict with ``image`` and ``labels`` (tags).
            view: outputs of the gradient pass on these images; None outside training.
            events: what has begun at this step, e.g. ``"propagation"``.

        Returns:
            dict: ``cam``, float32 `[B,H,W,C]`, and ``large_view``, whose affinity can spread it.
        """
        cam, large_view = self.cam_and_large_view(batch["image"], view)
        return {"cam": cam, "large_view": large_view}

    def label(self, batch, maps, propagated=False, **scores):
        """Three-way labels, int32 `[B,H,W]`, 255 = ignored.

        Args:
            batch: dict with ``image``, ``labels`` and ``valid_box``.
            maps: what :meth:`maps` has given.
            propagated: bool, whether the CAM is spread first.
            **scores: ``high`` and ``low`` in place of those of the configuration; equal ones leave
                nothing to ignore but what lies outside the valid box.
        """
        if propagated:
            return self.from_propagated_cam(batch, maps["cam"], maps["large_view"], **scores)
        return self.from_cam(batch, maps["cam"], **scores)

    def describe(self, batch):
        """CAM and labels of images of any size, as :class:`Described`."""
        settings = self.settings.pseudo_label
        propagated = getattr(settings, "propagation", "none") != "none"
        maps, middle = self.maps(batch), (settings.high + settings.low) / 2
        return Described(
            maps["cam"],
            self.label(batch, maps, propagated),
            self.label(batch, maps, propagated, high=middle, low=middle),
        )

    # ---- views ------------------------------------------------------------------------------

    def multi_scale_cam(self, images):
        """CAM fused over scales and horizontal flip, float32 `[B,H,W,C]` in [0,1), no gradient.

        AFA, eq. 4 and 5. Not masked by the image tags.
        """
        cams = [view["cam"] for view in self.views(images)]
        return fuse_multi_scale(cams, ops.shape(images)[1:3])

    def cam_and_large_view(self, images, view=None):
        """:meth:`multi_scale_cam`, and the outputs of the largest view, whose affinity spreads it.

        Args:
            view: outputs of the gradient pass on ``images``, which are not computed again (with
                ``parity`` they are, as in the released code); None outside training.
        """
        released = self.settings.parity and view is not None
        propagation = getattr(self.settings.pseudo_label, "propagation", "none")
        request = ("cam", "affinity") if propagation in BY_AFFINITY else ("cam",)
        views = self.views(images, request, training=released, own=None if released else view)
        cam = fuse_multi_scale([each["cam"] for each in views], ops.shape(images)[1:3])
        scales = self.settings.cam.scales
        return cam, views[scales.index(max(scales))]

    def views(self, images, request=("cam",), training=False, own=None):
        """Outputs for every scale, of the images and then of their mirror images.

        Args:
            images: float `[B,H,W,3]`, 0..255.
            request: outputs as of the network's call; only these are computed.
            training: bool; True runs the passes as in the released code: stochastic depth is
                active and the decoder is evaluated too, so that its batch-norm statistics see
                these images.
            own: outputs of ``images`` where a pass has computed them already.

        Returns:
            List, one dict a scale of the requested outputs with the batch axis `2B`.
        """
        height, width = ops.shape(images)[1:3]
        views = []
        for scale in self.settings.cam.scales:
            view = images
            if scale != 1:
                view = resize(images, (scaled(height, scale), scaled(width, scale)))
            mirrored = ops.flip(view, axis=2)
            if scale == 1 and own is not None and set(request) <= set(own):
                mirrored = self.view(mirrored, request, training)
                outputs = {name: ops.concatenate([own[name], x]) for name, x in mirrored.items()}
            else:
                outputs = self.view(ops.concatenate([view, mirrored]), request, training)
            views.append({name: ops.stop_gradient(x) for name, x in outputs.items()})
        return views

    def view(self, images, request, training=False):
        """Requested outputs of one pass; see :meth:`views`."""
        computed = (*request, "segmentation_logits") if training else request
        outputs = self.network.outputs(images, computed, training)
        return {name: outputs[name] for name in request}

    # ---- labels -----------------------------------------------------------------------------

    def from_cam(self, batch, cam, high=None, low=None):
        """Three-way label of a CAM (AFA, eq. 8), int32 `[B,H,W]`."""
        return self.refined(
            refined_pseudo_label, batch, cam, batch["labels"], **self._scores(high, low)
        )

    def from_propagated_cam(self, batch, cam, large_view, high=None, low=None):
        """As :meth:`from_cam`, of a CAM that is first spread by the affinity of a view.

        Args:
            large_view: outputs ``cam`` and ``affinity`` of a view with the images in front.
        """
        tags = batch["labels"]
        tokens = resize(cam, ops.shape(large_view["cam"])[1:3])
        affinity = large_view["affinity"][: ops.shape(tags)[0]]
        if self.settings.pseudo_label.propagation == "affinity_processing":
            spread = affinity_processing(tokens, affinity, tags)
            return self.from_cam(batch, resize(spread, ops.shape(cam)[1:3]), high, low)
        scores = self._scores(high, low)
        return self.refined(propagated_pseudo_label, batch, tokens, affinity, tags, **scores)

    def refined(self, function, batch, *maps, **options):
        """``function`` of maps, image and box with the configured refiner, compiled if possible."""
        settings = self.settings.pseudo_label
        any_size = None in batch["image"].shape
        return (function if any_size else _compiled(function))(
            *maps,
            batch["image"],
            batch["valid_box"],
            refine=REFINERS[settings.refiner],
            iterations=settings.iterations,
            **options,
        )

    def _scores(self, high, low):
        """Background scores: the given ones, else those of the configuration."""
        settings = self.settings.pseudo_label
        return {
            "high": settings.high if high is None else high,
            "low": settings.low if low is None else low,
        }


def scaled(size, scale):
    """``size * scale`` rounded down, for an int or a scalar tensor."""
    if isinstance(size, int):
        return int(size * scale)
    return ops.cast(ops.cast(size, "float32") * scale, "int32")
