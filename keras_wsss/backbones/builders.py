"""Backbones by name, as the configuration gives them.

A builder is a function ``(strides, drop_path_rate, seed, **options) -> Model``, registered in
:data:`keras_wsss.registry.BACKBONES`.
"""

import functools

from keras_wsss.backbones import efficientnet_lite
from keras_wsss.backbones.mit import MiT
from keras_wsss.backbones.resnet import ResNet
from keras_wsss.backbones.vgg import VGG16
from keras_wsss.errors import ConfigError
from keras_wsss.registry import BACKBONES

STRIDES = (4, 2, 2, 1)


def build_backbone(name, *, strides=STRIDES, drop_path_rate=0.1, seed=None, **options):
    """Builds a backbone with random weights.

    Args:
        name: str, ``mit_b0`` .. ``mit_b5``, ``mit_tiny``, ``efficientnet_lite0`` ..
            ``efficientnet_lite2``, ``vgg16``, ``vgg16_largefov``, ``resnet50``, ``resnet101`` or a
            registered one.
        strides: strides of the four stages of a MiT or EfficientNet; their product is the stride
            of F4. VGG16 and ResNets have their own.
        drop_path_rate: float in [0, 1), stochastic depth of the last block of a MiT or
            EfficientNet.
        seed: int or None, seed of stochastic depth and of dropout.
        **options: further arguments of the backbone's class.

    Raises:
        ConfigError: an unknown name, or strides that the backbone cannot have.

    Example:

    >>> build_backbone("mit_tiny").feature_channels
    (16, 32, 40, 64)
    """
    return BACKBONES[name](
        strides=tuple(strides), drop_path_rate=drop_path_rate, seed=seed, **options
    )


def _efficientnet_lite(size, strides, **options):
    if strides not in ((4, 2, 2, 1), (4, 2, 2, 2)):
        raise ConfigError(
            f"efficientnet_lite{size} cannot have the strides {list(strides)}; set "
            "`backbone.strides` to [4, 2, 2, 1] or [4, 2, 2, 2]."
        )
    backbone = getattr(efficientnet_lite, f"EfficientNetLite{size}")
    return backbone(output_stride=4 * 2 * 2 * strides[3], **options)


efficientnet_lite0, efficientnet_lite1, efficientnet_lite2 = (
    functools.partial(_efficientnet_lite, size) for size in range(3)
)


def _refuse_strides(name, strides):
    if strides != STRIDES:
        raise ConfigError(
            f"{name} has output stride 8 and cannot have the strides {list(strides)}; leave "
            "`backbone.strides` out."
        )


def vgg16(strides, drop_path_rate, seed, **options):
    """Builder of VGG16."""
    _refuse_strides("vgg16", strides)
    return VGG16(seed=seed, **options)


def vgg16_largefov(strides, drop_path_rate, seed, **options):
    """Builder of VGG16 with DeepLab's large field of view."""
    _refuse_strides("vgg16_largefov", strides)
    return VGG16(largefov=True, seed=seed, **options)


def _resnet(depth, strides, drop_path_rate, seed, **options):
    _refuse_strides(f"resnet{depth}", strides)
    return ResNet(depth, **options)


resnet50, resnet101 = (functools.partial(_resnet, depth) for depth in (50, 101))

mit_b0, mit_b1, mit_b2, mit_b3, mit_b4, mit_b5, mit_tiny = (
    functools.partial(MiT, variant) for variant in ("b0", "b1", "b2", "b3", "b4", "b5", "tiny")
)
