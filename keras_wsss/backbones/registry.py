"""Backbones by name, as the configuration gives them."""

from collections.abc import Callable

import keras

from keras_wsss.backbones.efficientnet_lite import EfficientNetLite0
from keras_wsss.backbones.mit import VARIANTS, MiT
from keras_wsss.backbones.resnet import DEPTHS, ResNet
from keras_wsss.backbones.vgg import VGG16
from keras_wsss.errors import ConfigError

STRIDES = (4, 2, 2, 1)

_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


def register_backbone(name):
    """Decorator that adds a builder ``(strides, drop_path_rate, seed, **options) -> Model``.

    Example:

    >>> @register_backbone("my_net")
    ... def my_net(strides, drop_path_rate, seed, **options):
    ...     return MyNet(**options)
    """

    def register(builder):
        _BUILDERS[name] = builder
        return builder

    return register


def backbone_names():
    """All registered names, sorted."""
    return sorted(_BUILDERS)


def build_backbone(name, *, strides=STRIDES, drop_path_rate=0.1, seed=None, **options):
    """Builds a backbone with random weights.

    Args:
        name: str, ``mit_b0`` .. ``mit_b5``, ``mit_tiny``, ``efficientnet_lite0``, ``vgg16``,
            ``vgg16_largefov``, ``resnet50`` or ``resnet101``.
        strides: strides of the four stages of a MiT or EfficientNet; their product is the stride
            of F4. VGG16 and ResNets have their own.
        drop_path_rate: float in [0, 1), stochastic depth of the last block of a MiT or
            EfficientNet.
        seed: int or None, seed of stochastic depth and of dropout.
        **options: further arguments of the backbone's class.

    Raises:
        ConfigError: an unknown name, or strides that the backbone cannot have.

    Example:

    >>> build_backbone("efficientnet_lite0").feature_channels
    (24, 40, 112, 1280)
    """
    if name not in _BUILDERS:
        raise ConfigError(f"There is no backbone {name!r}; known: {', '.join(backbone_names())}.")
    return _BUILDERS[name](
        strides=tuple(strides), drop_path_rate=drop_path_rate, seed=seed, **options
    )


@register_backbone("efficientnet_lite0")
def _efficientnet_lite0(strides, **options):
    if strides not in ((4, 2, 2, 1), (4, 2, 2, 2)):
        raise ConfigError(
            f"efficientnet_lite0 cannot have the strides {list(strides)}; set "
            "`backbone.strides` to [4, 2, 2, 1] or [4, 2, 2, 2]."
        )
    return EfficientNetLite0(output_stride=4 * 2 * 2 * strides[3], **options)


def _refuse_strides(name, strides):
    if strides != STRIDES:
        raise ConfigError(
            f"{name} has output stride 8 and cannot have the strides {list(strides)}; leave "
            "`backbone.strides` out."
        )


@register_backbone("vgg16")
def _vgg16(strides, drop_path_rate, seed, **options):
    _refuse_strides("vgg16", strides)
    return VGG16(seed=seed, **options)


@register_backbone("vgg16_largefov")
def _vgg16_largefov(strides, drop_path_rate, seed, **options):
    _refuse_strides("vgg16_largefov", strides)
    return VGG16(largefov=True, seed=seed, **options)


def _register_resnet(depth):
    @register_backbone(f"resnet{depth}")
    def build(strides, drop_path_rate, seed, **options):
        _refuse_strides(f"resnet{depth}", strides)
        return ResNet(depth, **options)


def _register_mit(variant):
    @register_backbone(f"mit_{variant}")
    def build(**options):
        return MiT(variant, **options)


for _variant in VARIANTS:
    _register_mit(_variant)

for _depth in DEPTHS:
    _register_resnet(_depth)
