"""Decoders by name, as the configuration gives them.

A builder is a function ``(num_classes, embedding_dim, dropout, synchronized, seed) -> Layer``,
registered in :data:`keras_wsss.registry.DECODERS`.
"""

from keras_wsss.heads.aspp import DeepLabV2Decoder
from keras_wsss.heads.largefov import LargeFOVDecoder
from keras_wsss.heads.linear import LinearDecoder
from keras_wsss.heads.segformer import SegFormerDecoder
from keras_wsss.registry import DECODERS


def build_decoder(name, num_classes, embedding_dim=256, dropout=0.1, synchronized=False, seed=None):
    """Decoder by its name in the configuration.

    Args:
        name: ``"segformer"``, or ``"largefov"``, ``"deeplabv2"`` or ``"linear"`` (which have no
            dropout and no batch norm), or a registered one.
        num_classes: int, channels of the logits, background included.

    Raises:
        ConfigError: an unknown name.

    Example:

    >>> features = [ops.ones((1, side, side, 32)) for side in (16, 8, 4, 4)]
    >>> ops.shape(build_decoder("segformer", 21)(features))
    (1, 16, 16, 21)
    """
    return DECODERS[name](num_classes, embedding_dim, dropout, synchronized, seed)


segformer = SegFormerDecoder


def largefov(num_classes, embedding_dim, dropout, synchronized, seed):
    """Builder of DeepLab's LargeFOV decoder."""
    return LargeFOVDecoder(num_classes, embedding_dim)


def deeplabv2(num_classes, embedding_dim, dropout, synchronized, seed):
    """Builder of DeepLabV2's decoder, whose width is that of the classes."""
    return DeepLabV2Decoder(num_classes)


def linear(num_classes, embedding_dim, dropout, synchronized, seed):
    """Builder of the 1x1 decoder."""
    return LinearDecoder(num_classes)
