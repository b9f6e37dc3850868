"""A method = a network + a pseudo-labeller + a list of weighted, scheduled loss terms."""

import functools

import keras
from keras import ops

from keras_wsss import backbones, heads, losses
from keras_wsss.config import BY_AFFINITY, RELATION_LOSSES, Config
from keras_wsss.metrics import MeanIoU
from keras_wsss.ops import refine
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.affinity import affinity_targets
from keras_wsss.ops.affinity_processing import affinity_processing
from keras_wsss.ops.box import propagated_pseudo_label
from keras_wsss.ops.cam import fuse_multi_scale, inside, refined_pseudo_label
from keras_wsss.ops.resize import resize

if keras.backend.backend() == "tensorflow":
    from keras_wsss.methods._step_tensorflow import TrainingStep
else:

    class TrainingStep:  # type: ignore[no-redef]
        """The numerics run on JAX too, training only on TensorFlow."""


REFINERS = {
    "par": refine.pixel_adaptive_refinement,
    "varm": refine.variation_aware_refinement,
}

AFFINITY_RADIUS = 8  # in tokens
LATTICE_AMPLITUDE = 0.46  # of the released energy filter against the exact Gaussian (rrm.md 3.3)

# XLA compiles once per size: right for training crops, wrong for photographs of any size.
_compiled = functools.cache(compiled)


class WSSSModel(TrainingStep, keras.Model):
    """Network, multi-scale CAM and refined pseudo labels that all methods share.

    A method overrides three functions, called in this order at every training step:

    * ``forward(batch, active)``: the network passes it needs (gradients flow);
    * ``pseudo_labels(batch, outputs, active)``: what supervises the decoder (no gradient);
    * ``loss_terms(batch, outputs, labels, active)``: ``{name: scalar}`` of the active terms.

    ``active`` holds the names of the loss terms that count at this step, and ``"propagation"``
    once ``pseudo_label.propagation_start`` has come.

    Args:
        config: :class:`~keras_wsss.config.Config`; data paths and schedule lengths are not used.
        num_classes: int C, foreground classes. The decoder has C + 1 channels, 0 = background.
        synchronized: bool, whether the decoder's batch norm pools its statistics over replicas.

    Calling the model on images (float `[B,H,W,3]`, RGB 0..255, any H and W) or on a batch dict
    gives a dict with ``image_logits [B,C]`` and ``segmentation_logits`` (the SegFormer decoder's on
    the grid of F1 `[B,H/4,W/4,C+1]`, others on that of F4), and where ``request`` names them
    ``cam [B,h,w,C]`` (raw class activations) and ``affinity [B,N,N]``.

    Example:

    >>> model = build_model(load_config("animals5_tscd"), num_classes=5)
    >>> model(images)["segmentation_logits"].shape
    (2, 56, 56, 6)
    """

    needs_masks = False  # whether training batches hold ``mask``
    trained_steps = 0  # of the checkpoint that was loaded last

    def __init__(self, config, num_classes, synchronized=False, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = Config.model_validate(config)
        self.settings = config
        self.num_classes = num_classes
        self.synchronized = synchronized
        self.loss_settings = dict(config.losses)

        self.backbone = backbones.build_backbone(
            config.backbone.name,
            strides=config.backbone.strides,
            drop_path_rate=config.backbone.drop_path_rate,
            seed=config.seed,
        )
        self.classifier = heads.CAMClassifier(
            num_classes, pooling=config.heads.pooling, use_bias=config.heads.classifier_bias
        )
        self.decoder = heads.build_decoder(
            config.heads.decoder,
            num_classes + 1,
            embedding_dim=config.heads.embedding_dim,
            dropout=config.heads.dropout,
            synchronized=synchronized,
            seed=config.seed,
        )
        self.neck = self.affinity_head = None
        if "affinity" in self.loss_settings:
            chosen = config.heads.symmetric_affinity
            self.affinity_head = heads.AffinityHead(
                symmetric=self.symmetric_affinity if chosen is None else chosen
            )
            if not self.backbone.attention_heads:
                self.neck = heads.AttentionNeck()
        self.random = keras.random.SeedGenerator(config.seed)

        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ("loss", *self.loss_settings)
        }
        self.mean_iou = MeanIoU(num_classes + 1, name="miou")

    @property
    def symmetric_affinity(self):
        """Whether attention scores are made symmetric where the configuration does not say."""
        return True

    # ---- the three functions of a method ----------------------------------------------------

    def forward(self, batch, active):
        """Network outputs of a training step, for ``pseudo_labels`` and ``loss_terms``."""
        raise NotImplementedError

    def pseudo_labels(self, batch, outputs, active):
        """Labels for the decoder, int32 `[B,S,S]` with 255 = ignore; None when none are needed."""
        raise NotImplementedError

    def loss_terms(self, batch, outputs, labels, active):
        """Scalar of each loss term named in ``active``, before weighting."""
        raise NotImplementedError

    def gradient_pass(self, images, active):
        """The pass that the loss terms read: with the CAM, and the affinity while it is trained."""
        request = ("cam", "affinity") if "affinity" in active else ("cam",)
        return self(images, training=True, request=request)

    def common_terms(self, batch, view, active):
        """Terms that every method has: the image tags, and I2CRC's relation constraints.

        Args:
            view: outputs of the gradient pass on ``batch["image"]``, with ``cam`` where a relation
                term is active.
        """
        tags = batch["labels"]
        terms = {"classification": losses.multilabel_soft_margin(tags, view["image_logits"])}
        if not active.isdisjoint(RELATION_LOSSES):
            cam, size = view["cam"], batch["image"].shape[1:3]
            # Padding is neither object nor background.
            valid = ops.cast(inside(batch["valid_box"], size), "float32")[..., None]
            salient = batch["saliency"] * valid
            terms |= {
                "object_distance": losses.class_agnostic_distance(cam, salient, tags),
                "background_distance": losses.class_agnostic_distance(cam, valid - salient, tags),
                "class_distance": losses.class_specific_distance(cam, salient, tags, valid),
            }
        return {name: value for name, value in terms.items() if name in active}

    def affinity_term(self, labels, view):
        """Affinity of the attention against labels (afa.md 3.3)."""
        targets = affinity_targets(labels, AFFINITY_RADIUS, self.backbone.output_stride)
        return losses.affinity_loss(targets, view["affinity"])

    def decoder_terms(self, batch, labels, logits, active):
        """What pseudo labels teach the decoder: balanced cross-entropy and dense energy.

        afa.md 3.5 and rrm.md 3.3.

        Args:
            logits: of the decoder, at the size of the image.
        """
        terms = {}
        if "segmentation" in active:
            terms["segmentation"] = losses.balanced_cross_entropy(labels, logits)
        if "energy" in active:
            stride = self.loss_settings["energy"].stride
            energy = losses.dense_energy(
                batch["image"], labels, logits, batch["valid_box"], stride=stride
            )
            terms["energy"] = energy * (LATTICE_AMPLITUDE if self.settings.parity else 1.0)
        return terms

    # ---- network ----------------------------------------------------------------------------

    def call(self, inputs, training=None, request=()):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        features, attention = self.encode(images, "affinity" in request, training)
        outputs = {
            "image_logits": self.classifier.image_logits(features[-1]),
            "segmentation_logits": self.decode(features, ops.shape(images)[1:3], training),
        }
        if "cam" in request:
            outputs["cam"] = self.classifier.cam(features[-1])
        if "affinity" in request:
            outputs["affinity"] = self.affinity_head(attention)
        return outputs

    def encode(self, images, return_attention=False, training=None):
        """Features F1..F4 and, if asked for, queries and keys for the affinity head, else None."""
        if not return_attention:
            return self.backbone(images, training=training), None
        if self.neck is None:
            return self.backbone(images, training=training, return_attention=True)
        features = self.backbone(images, training=training)
        return features, self.neck(features[-1], training=training)

    def decode(self, features, size, training=None):
        """Decoder logits of the features F1..F4 of images of ``size`` (H, W)."""
        return self.decoder(features, training=training)

    def build(self, input_shape=None):
        """Creates all variables, independent of the shape that the model is first called on."""
        if not self.built:
            self.built = True  # the call below must not come back here
            request = ("affinity",) if self.affinity_head is not None else ()
            self(ops.zeros((1, 64, 64, 3)), request=request)

    def reference_variables(self):
        """Variables under the names of the released PyTorch models, to import their weights."""
        variables = {
            **self.backbone.reference_variables("encoder."),
            **self.decoder.reference_variables("decoder."),
            **self.classifier.reference_variables("classifier."),
        }
        if self.affinity_head is not None:
            variables |= self.affinity_head.reference_variables("attn_proj.")
        return variables

    # ---- CAM and pseudo labels --------------------------------------------------------------

    def multi_scale_cam(self, images):
        """CAM fused over scales and horizontal flip, float32 `[B,H,W,C]` in [0,1), no gradient.

        afa.md, section 2.3. Not masked by the image tags.
        """
        cams = [view["cam"] for view in self.multi_scale_views(images)]
        return fuse_multi_scale(cams, ops.shape(images)[1:3])

    def cam_and_large_view(self, images, view=None):
        """:meth:`multi_scale_cam`, and the outputs of the largest view, whose affinity spreads it.

        Args:
            view: outputs of the gradient pass on ``images``, which are not computed again (with
                ``parity`` they are, as in the released code); None outside training.
        """
        released = self.settings.parity and view is not None
        by_affinity = self.settings.pseudo_label.propagation in BY_AFFINITY
        request = ("cam", "affinity") if by_affinity else ("cam",)
        views = self.multi_scale_views(
            images, request, training=released, own=None if released else view
        )
        cam = fuse_multi_scale([each["cam"] for each in views], ops.shape(images)[1:3])
        scales = self.settings.cam.scales
        return cam, views[scales.index(max(scales))]

    def multi_scale_views(self, images, request=("cam",), training=False, own=None):
        """Gradient-free outputs for every scale, of the images and then of their mirror images.

        Args:
            images: float `[B,H,W,3]`, 0..255.
            request: outputs as of the call; only these are computed.
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
                mirrored = self.gradient_free(mirrored, request, training)
                outputs = {name: ops.concatenate([own[name], x]) for name, x in mirrored.items()}
            else:
                both = ops.concatenate([view, mirrored])
                outputs = self.gradient_free(both, request, training)
            views.append({name: ops.stop_gradient(x) for name, x in outputs.items()})
        return views

    def gradient_free(self, images, request, training):
        """Requested outputs of one pass; see :meth:`multi_scale_views`."""
        features, attention = self.encode(images, "affinity" in request, training)
        outputs = {"cam": self.classifier.cam(features[-1])}
        if training or "segmentation_logits" in request:
            logits = self.decode(features, ops.shape(images)[1:3], training)
            if "segmentation_logits" in request:
                outputs["segmentation_logits"] = logits
        if "affinity" in request:
            outputs["affinity"] = self.affinity_head(attention)
        return outputs

    def refined_labels(self, batch, cam, high=None, low=None):
        """Three-way pseudo label of a CAM (``THREEWAY``, afa.md 3.2), int32 `[B,H,W]`.

        The background scores ``high`` and ``low`` default to those of the configuration; equal
        ones leave nothing to ignore but what lies outside the valid box.
        """
        settings = self.settings.pseudo_label
        return self.refined(
            refined_pseudo_label,
            batch,
            cam,
            batch["labels"],
            high=high or settings.high,
            low=low or settings.low,
        )

    def propagated_labels(self, batch, cam, large_view, high=None, low=None):
        """As :meth:`refined_labels`, of a CAM that is first spread by the affinity of a view.

        Args:
            large_view: outputs ``cam`` and ``affinity`` of a view with the images in front.
        """
        settings, tags = self.settings.pseudo_label, batch["labels"]
        tokens = resize(cam, ops.shape(large_view["cam"])[1:3])
        affinity = large_view["affinity"][: ops.shape(tags)[0]]
        if settings.propagation == "affinity_processing":
            spread = affinity_processing(tokens, affinity, tags)
            return self.refined_labels(batch, resize(spread, ops.shape(cam)[1:3]), high, low)
        return self.refined(
            propagated_pseudo_label,
            batch,
            tokens,
            affinity,
            tags,
            high=high or settings.high,
            low=low or settings.low,
        )

    def refined(self, function, batch, *maps, **options):
        """``function`` of maps, image and box with the configured refiner, compiled if possible."""
        any_size = None in batch["image"].shape
        return (function if any_size else _compiled(function))(
            *maps,
            batch["image"],
            batch["valid_box"],
            refine=REFINERS[self.settings.refiner],
            iterations=self.settings.pseudo_label.iterations,
            **options,
        )

    def decoder_labels(self, batch, cam, large_view, propagated, **scores):
        """:meth:`propagated_labels` or :meth:`refined_labels`."""
        if propagated:
            return self.propagated_labels(batch, cam, large_view, **scores)
        return self.refined_labels(batch, cam, **scores)

    def seeds(self, batch):
        """What the tags of images are worth: their CAM and the labels that train the decoder.

        Evaluation alone calls it, with images of any size.

        Returns:
            Triple of the CAM, float32 `[B,H,W,C]`, the label as in training, int32 `[B,H,W]`, and
            a label without ignored pixels.
        """
        settings = self.settings.pseudo_label
        cam, large_view = self.cam_and_large_view(batch["image"])
        inputs = batch, cam, large_view, settings.propagation != "none"
        middle = (settings.high + settings.low) / 2
        return (
            cam,
            self.decoder_labels(*inputs),
            self.decoder_labels(*inputs, high=middle, low=middle),
        )

    # ---- schedule and Keras -----------------------------------------------------------------

    def active_terms(self, step):
        """Names of the loss terms that count at the 0-based ``step``."""
        starts = {name: term.start_step for name, term in self.loss_settings.items()}
        if self.settings.pseudo_label.propagation != "none":
            starts["propagation"] = self.settings.pseudo_label.propagation_start
        return frozenset(name for name, start in starts.items() if step >= start)

    def compile(self, optimizer="rmsprop", xla=False, **kwargs):
        """As Keras' ``compile``; ``xla`` compiles network, losses and gradients of a replica.

        Keras' own ``jit_compile`` would compile the distribution strategy as well, which fails.
        """
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        self.xla = xla

    def test_step(self, batch):
        """Decoder mIoU on a batch with ``mask``; tags are not used."""
        mask = batch["mask"]
        logits = self(batch, training=False)["segmentation_logits"]
        logits = resize(logits, ops.shape(mask)[1:3])
        self.mean_iou.update_state(mask, ops.argmax(logits, axis=-1))
        return {"miou": self.mean_iou.result()}

    def get_config(self):
        return {
            "config": self.settings.model_dump(mode="json"),
            "num_classes": self.num_classes,
            "synchronized": self.synchronized,
            "name": self.name,
        }


def scaled(size, scale):
    """``size * scale`` rounded down, for an int or a scalar tensor."""
    if isinstance(size, int):
        return int(size * scale)
    return ops.cast(ops.cast(size, "float32") * scale, "int32")
