"""What sits on a backbone: CAM classifier, affinity head, decoders, attention neck."""

from keras_wsss.heads.affinity import AffinityHead
from keras_wsss.heads.aspp import DeepLabV2Decoder
from keras_wsss.heads.attention_neck import AttentionNeck
from keras_wsss.heads.builders import build_decoder
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
