"""The network that all methods share: encoder, image classifier with its CAM, decoder, affinity."""

import keras
from keras import ops

from keras_wsss import backbones, heads
from keras_wsss.errors import DataError

PREDICTIONS = ("image_logits", "segmentation_logits")


class Network(keras.Model):
    """Encoder and heads.

    Args:
        settings: :class:`~keras_wsss.config.ModelConfig`; ``backbone``, ``heads`` and ``seed``
            count, and whether a loss term reads the affinity.
        num_classes: int C, foreground classes. The decoder has C + 1 channels, 0 = background.
        synchronized: bool, whether the decoder's batch norm pools its statistics over replicas.
        backbone: a built backbone; None: the one that ``settings`` name.

    Calling it on images (float `[B,H,W,3]`, RGB 0..255, any H and W) or on a batch dict gives a
    dict with ``image_logits [B,C]`` and ``segmentation_logits`` (the SegFormer decoder's on the
    grid of F1 `[B,H/4,W/4,C+1]`, others on that of F4), and where ``request`` names them
    ``cam [B,h,w,C]`` (raw class activations) and ``affinity [B,N,N]``.

    Example:

    >>> settings = wsss.config.model_settings("tscd", backbone={"name": "mit_tiny"})
    >>> outputs = Network(settings, num_classes=2)(ops.ones((1, 64, 64, 3)), request=["cam"])
    >>> {name: ops.shape(output) for name, output in outputs.items()}
    {'image_logits': (1, 2), 'segmentation_logits': (1, 16, 16, 3), 'cam': (1, 4, 4, 2)}
    """

    released_symmetric = True  # whether released code makes attention scores symmetric

    def __init__(self, settings, num_classes, synchronized=False, backbone=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.synchronized = synchronized
        self.backbone = backbone or backbones.build_backbone(
            settings.backbone.name,
            strides=settings.backbone.strides,
            drop_path_rate=settings.backbone.drop_path_rate,
            seed=settings.seed,
        )
        self.classifier = heads.CAMClassifier(
            num_classes, pooling=settings.heads.pooling, use_bias=settings.heads.classifier_bias
        )
        self.decoder = heads.build_decoder(
            settings.heads.decoder,
            num_classes + 1,
            embedding_dim=settings.heads.embedding_dim,
            dropout=settings.heads.dropout,
            synchronized=synchronized,
            seed=settings.seed,
        )
        self.neck = self.affinity_head = None
        terms = settings.declaration.terms
        if any("affinity" in terms[name].reads for name in settings.losses):
            symmetric = getattr(settings.heads, "symmetric_affinity", None)
            if symmetric is None:
                symmetric = self.released_symmetric or not settings.parity
            self.affinity_head = heads.AffinityHead(symmetric=symmetric)
            if not self.backbone.attention_heads:
                self.neck = heads.AttentionNeck()

    def call(self, inputs, training=None, request=()):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        self.check_images(images)
        return self.outputs(images, (*PREDICTIONS, *request), training)

    def check_images(self, images):
        """Raises DataError where images are not `[B,H,W,3]`."""
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[-1] not in (3, None):
            raise DataError(f"images have the shape {shape}; they are RGB, 0..255, [B,H,W,3]")

    def outputs(self, images, request, training=None):
        """The outputs that ``request`` names, of one pass; no others are computed."""
        features, attention = self.encode(images, "affinity" in request, training)
        outputs = {}
        if "image_logits" in request:
            outputs["image_logits"] = self.classifier.image_logits(features[-1])
        if "segmentation_logits" in request:
            size = ops.shape(images)[1:3]
            outputs["segmentation_logits"] = self.decode(features, size, training)
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
