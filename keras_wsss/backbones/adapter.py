"""Any Keras model that yields a feature pyramid as a backbone: `keras.applications`, KerasHub."""

import re

import keras
from keras import ops

from keras_wsss.errors import ConfigError, WeightsError

HUB = "hub://"
"""How the name of a KerasHub preset begins, e.g. ``BMP(backbone="hub://...")``."""

# How `keras.applications` normalises, by the names of its models: scale, offset, BGR.
AS_IT_IS = (1.0, 0.0, False)  # the model normalises itself
TO_ONE = (1 / 127.5, -1.0, False)
BY_IMAGENET = (
    (1 / 58.395, 1 / 57.12, 1 / 57.375),
    (-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375),
    False,
)
CAFFE = (1.0, (-103.939, -116.779, -123.68), True)
APPLICATIONS = (
    (r"(mobilenetv3|efficientnet|convnext)[\w.-]*", AS_IT_IS),
    (r"mobilenet(v2)?_[\w.]+|resnet\d+v2|xception|inception_\w+|nasnet\w*", TO_ONE),
    (r"densenet\d+", BY_IMAGENET),
    (r"vgg(16|19)|resnet(50|101|152)", CAFFE),
)

# KerasHub presets and classes whose published weights were trained on masks.
PIXEL_PRESET = re.compile(r"ade20k|cityscapes|voc|deeplab|segformer|sam_|sam2|segment|coco")
PIXEL_CLASS = re.compile(r"MiT|SegFormer|DeepLab|SAM")


def adapted(model, scale=None, offset=0.0, bgr=False):
    """A backbone of ours from a Keras model.

    Args:
        model: one of our backbones (returned as it is); ``hub://PRESET``, a KerasHub preset; a
            KerasHub backbone, whose ``pyramid_outputs`` are taken; or a functional model without
            its classifier, such as ``keras.applications.MobileNetV2(include_top=False)``, whose
            last feature map at each stride is taken.
        scale: a float or three: the model takes ``scale * x + offset`` of images RGB 0..255; None:
            known for ``keras.applications`` and presets.
        offset: as ``scale``.
        bgr: bool, whether it takes BGR.

    Returns:
        :class:`PyramidBackbone`.

    Raises:
        ConfigError: it has fewer than two strides, takes no RGB images of any size, how it wants
            them is not known, or it was trained on masks.
        WeightsError: a preset cannot be fetched.

    Example:

    >>> model = keras.applications.MobileNetV2(include_top=False, weights=None)
    >>> adapted(model).feature_channels
    (144, 192, 576, 1280)
    """
    if isinstance(model, str):
        model, scale, offset = _from_hub(model.removeprefix(HUB))
    if hasattr(model, "feature_channels"):
        return model
    if PIXEL_CLASS.match(type(model).__name__):
        _refuse_pixels(type(model).__name__)
    if scale is None and (offset or bgr):
        raise ConfigError("adapted(offset=..., bgr=...): say scale=... as well")
    if scale is None:
        scale, offset, bgr = _normalisation(model)
    return PyramidBackbone(model, scale, offset, bgr)


@keras.saving.register_keras_serializable("keras_wsss")
class PyramidBackbone(keras.Model):
    """Features F1..F4 of a Keras model, at strides 4, 8, 16 and 32 where it has them.

    Its batch norms keep their statistics, as everywhere in this library. There is no attention:
    methods that need affinity put :class:`~keras_wsss.heads.AttentionNeck` on top.

    Args:
        model: functional Keras model, images float `[B,H,W,3]` -> list of features `[B,h,w,C]`.
        scale: as of :func:`adapted`.
        offset: as there.
        bgr: as there.

    Call:
        images: float `[B,H,W,3]`, RGB 0..255.

    Returns:
        List F1..F4 of `[B,H/s,W/s,C]`, C = ``feature_channels``.

    Example:

    >>> images = keras.Input((None, None, 3))
    >>> levels = [keras.layers.AveragePooling2D(side)(images) for side in (4, 8, 16, 32)]
    >>> backbone = PyramidBackbone(keras.Model(images, levels), scale=1 / 255)
    >>> [ops.shape(f) for f in backbone(ops.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 3), (1, 8, 8, 3), (1, 4, 4, 3), (1, 2, 2, 3)]
    """

    attention_heads = 0

    def __init__(self, model, scale=1.0, offset=0.0, bgr=False, name="backbone", **kwargs):
        super().__init__(name=name, **kwargs)
        self.model = model
        self.scale, self.offset, self.bgr = scale, offset, bgr
        outputs, strides = _pyramid(model)
        self.pyramid = keras.Model(model.inputs, outputs, name="pyramid")
        self.output_stride = strides[-1]
        self.feature_channels = tuple(output.shape[-1] for output in outputs)
        self.built = True

    def preprocess(self, images):
        """What the model takes, of images RGB 0..255."""
        images = images[..., ::-1] if self.bgr else images
        return images * ops.array(self.scale, "float32") + ops.array(self.offset, "float32")

    def call(self, images, training=None):
        features = self.pyramid(self.preprocess(images), training=False)
        # Four levels are what decoders read; a shorter pyramid repeats its finest.
        return [features[0]] * (4 - len(features)) + list(features)

    def reference_variables(self, prefix=""):
        """None: it keeps the weights that it came with."""
        return {}

    def get_config(self):
        model = keras.saving.serialize_keras_object(self.model)
        numbers = {"scale": self.scale, "offset": self.offset, "bgr": self.bgr}
        return {"model": model, **numbers, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})


def _from_hub(preset):
    """Network of a KerasHub preset, and how it was trained to see images."""
    if PIXEL_PRESET.search(preset):
        _refuse_pixels(preset)
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise ConfigError(f"{HUB}{preset} needs a package: `pip install keras-hub`.") from error
    try:
        model = keras_hub.models.Backbone.from_preset(preset)
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # the hub raises a family of network and HTTP errors
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{HUB}{preset} could not be fetched ({reason}). Save the preset to a folder on a "
            "machine with network access and name the folder here"
        ) from error
    scale = 1.0 if converter.scale is None else converter.scale
    return model, scale, 0.0 if converter.offset is None else converter.offset


def _refuse_pixels(name):
    raise ConfigError(
        f"backbone {name}: was trained on pixel masks, so that a model which starts from it is not "
        "weakly supervised; use one trained on image labels (this library's mit_b1, for example)"
    )


def _normalisation(model):
    """Scale, offset and BGR of a network of ``keras.applications``."""
    for pattern, normalisation in APPLICATIONS:
        own = normalisation is not AS_IT_IS or _normalises_itself(model)
        if re.fullmatch(pattern, model.name.lower()) and own:
            return normalisation
    raise ConfigError(
        f"backbone {model.name}: how it wants its images is not known; say so with "
        "keras_wsss.backbones.adapted(model, scale=..., offset=...), or name a KerasHub preset as "
        "hub://PRESET"
    )


def _normalises_itself(model):
    kinds = keras.layers.Rescaling, keras.layers.Normalization
    return any(isinstance(layer, kinds) for layer in model.layers)


def _pyramid(model):
    """Up to four feature maps, the finest first, and their strides."""
    if hasattr(model, "pyramid_outputs"):
        levels = sorted(model.pyramid_outputs)[-4:]  # P2, P3, ...
        outputs = [model.pyramid_outputs[level] for level in levels]
        return outputs, [2 ** int(level[1:]) for level in levels]
    (_, height, _, channels) = model.inputs[0].shape
    if channels != 3 or height is not None:
        raise ConfigError(
            f"backbone {model.name}: takes images {list(model.inputs[0].shape[1:])}; it has to "
            "take RGB images of any size (include_top=False, input_shape=(None, None, 3))"
        )
    last = {stride: tensor for tensor, stride in _strides(model) if stride in (4, 8, 16, 32)}
    if len(last) < 2:
        raise ConfigError(f"backbone {model.name}: has no feature maps at two strides of 4 to 32")
    chosen = sorted(last)
    return [last[stride] for stride in chosen], chosen


def _strides(model, side=256):
    """Every feature map of a functional model with its stride, in the order of the layers."""
    maps = [layer.output for layer in model.layers if not isinstance(layer.output, list | tuple)]
    maps = [each for each in maps if len(each.shape) == 4]
    shapes = keras.Model(model.inputs, maps).compute_output_shape((1, side, side, 3))
    sized = [(each, shape[1]) for each, shape in zip(maps, shapes, strict=True)]
    return [(each, round(side / size)) for each, size in sized if size]
