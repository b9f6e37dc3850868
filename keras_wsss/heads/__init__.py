"""What sits on a backbone: CAM classifier, affinity head, decoders, attention neck."""

from keras_wsss.errors import ConfigError
from keras_wsss.heads.affinity import AffinityHead
from keras_wsss.heads.aspp import DeepLabV2Decoder
from keras_wsss.heads.attention_neck import AttentionNeck
from keras_wsss.heads.classifier import CAMClassifier
from keras_wsss.heads.largefov import LargeFOVDecoder
from keras_wsss.heads.linear import LinearDecoder
from keras_wsss.heads.segformer import SegFormerDecoder

__all__ = [
    "AffinityHead",
    "AttentionNeck",
    "CAMClassifier",
    "DeepLabV2Decoder",
    "LargeFOVDecoder",
    "LinearDecoder",
    "SegFormerDecoder",
    "build_decoder",
]


def build_decoder(name, num_classes, embedding_dim=256, dropout=0.1, synchronized=False, seed=None):
    """Decoder by its name in the configuration.

    Args:
        name: ``"segformer"``, or ``"largefov"``, ``"deeplabv2"`` or ``"linear"`` (which have no
            dropout and no batch norm).
        num_classes: int, channels of the logits, background included.

    Raises:
        ConfigError: an unknown name.

    Example:

    >>> build_decoder("segformer", 21)(features).shape
    (2, 80, 80, 21)
    """
    if name == "segformer":
        return SegFormerDecoder(num_classes, embedding_dim, dropout, synchronized, seed)
    if name == "largefov":
        return LargeFOVDecoder(num_classes, embedding_dim)
    if name == "deeplabv2":
        return DeepLabV2Decoder(num_classes)
    if name == "linear":
        return LinearDecoder(num_classes)
    raise ConfigError(f"`heads.decoder` is segformer, largefov, deeplabv2 or linear, not {name!r}.")
