"""Networks that turn images into features F1..F4, at strides 4, 8, 16 and 16 where they can."""

from keras_wsss.backbones.adapter import HUB, PyramidBackbone, adapted
from keras_wsss.backbones.builders import build_backbone
from keras_wsss.backbones.efficientnet_lite import (
    EfficientNetLite,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
)
from keras_wsss.backbones.mit import MiT
from keras_wsss.backbones.resnet import ResNet
from keras_wsss.backbones.vgg import VGG16
from keras_wsss.backbones.weights import (
    PRESETS,
    load_weights,
    portable_source,
    weights_licence,
)

__all__ = [
    "HUB",
    "PRESETS",
    "PyramidBackbone",
    "VGG16",
    "EfficientNetLite",
    "EfficientNetLite0",
    "EfficientNetLite1",
    "EfficientNetLite2",
    "MiT",
    "ResNet",
    "adapted",
    "build_backbone",
    "load_weights",
    "portable_source",
    "weights_licence",
]
