"""Any Keras model that yields a feature pyramid as a backbone: `keras.applications`, KerasHub."""

import re

import keras
from keras import ops

from keras_wsss.errors import ConfigError

# How `keras.applications` normalises, by the beginning of a model's name; None: it does so itself.
APPLICATIONS = (
    (r"mobilenetv?3|efficientnet|convnext|regnet", None),
    (r"mobilenet|resnet\d+v2|xception|inception|nasnet", "tf"),
    (r"densenet", "torch"),
    (r"vgg|resnet", "caffe"),
)
TORCH_MEAN, TORCH_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR

# Parts of the names of KerasHub presets that were trained on masks.
PIXEL_PRESETS = re.compile(r"ade20k|cityscapes|pascal|voc|segformer|deeplab|sam|segment|coco")


def adapted(model, preprocess=None):
    """A backbone of ours from a Keras model.

    Args:
        model: one of our backbones (returned as it is); a KerasHub backbone, whose
            ``pyramid_outputs`` are taken; or a functional model without its classifier, such as
            ``keras.applications.MobileNetV2(include_top=False)``, whose last feature map at each
            stride is taken.
        preprocess: function of images float `[B,H,W,3]`, RGB 0..255, to what the model takes;
            None: known for ``keras.applications`` and KerasHub.

    Raises:
        ConfigError: it has fewer than two strides, sees another number of channels than 3, takes
            one size only, or how it wants its images is not known.

    Example:

    >>> adapted(keras.applications.MobileNetV2(include_top=False)).feature_channels
    (144, 192, 576, 1280)
    """
    if hasattr(model, "feature_channels"):
        return model
    return PyramidBackbone(model, preprocess)


@keras.saving.register_keras_serializable("keras_wsss")
class PyramidBackbone(keras.Model):
    """Features F1..F4 of a Keras model, at strides 4, 8, 16 and 32 where it has them.

    Its batch norms keep their statistics, as everywhere in this library. There is no attention:
    methods that need affinity put :class:`~keras_wsss.heads.AttentionNeck` on top.

    Args:
        model, preprocess: as of :func:`adapted`.
    """

    attention_heads = 0

    def __init__(self, model, preprocess=None, name="backbone", **kwargs):
        super().__init__(name=name, **kwargs)
        self.model = model
        self.preprocess_function = preprocess
        self.mode = None if preprocess else _mode(model)
        outputs, strides = _pyramid(model)
        self.pyramid = keras.Model(model.inputs, outputs, name="pyramid")
        self.output_stride = strides[-1]
        self.feature_channels = tuple(output.shape[-1] for output in outputs)
        self.build((None, None, None, 3))

    def build(self, input_shape):
        self.built = True

    def preprocess(self, images):
        """What the model takes, of images RGB 0..255."""
        if self.preprocess_function:
            return self.preprocess_function(images)
        if self.mode == "tf":
            return images / 127.5 - 1.0
        if self.mode == "torch":
            return (images - ops.array(TORCH_MEAN)) / ops.array(TORCH_DEVIATION)
        if self.mode == "caffe":
            return images[..., ::-1] - ops.array(CAFFE_MEAN)
        return images

    def call(self, images, training=None):
        features = self.pyramid(self.preprocess(images), training=False)
        # Four levels are what decoders read; a shorter pyramid repeats its finest.
        return [features[0]] * (4 - len(features)) + list(features)

    def reference_variables(self, prefix=""):
        """None: it keeps the weights that it came with."""
        return {}

    def get_config(self):
        if self.preprocess_function:
            raise ConfigError(
                "a backbone with a preprocess function of its own cannot be saved; register a "
                "function that builds it (keras_wsss.register_backbone)"
            )
        return {"model": keras.saving.serialize_keras_object(self.model), "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["model"]), name=config["name"])


def _mode(model):
    if hasattr(model, "pyramid_outputs"):
        _refuse_pixels(model)
        return "torch"
    for pattern, mode in APPLICATIONS:
        if re.match(pattern, model.name.lower()):
            return mode
    raise ConfigError(
        f"backbone {model.name}: how it wants its images is not known; hand over "
        "keras_wsss.backbones.adapted(model, preprocess=function of images RGB 0..255)"
    )


def _refuse_pixels(model):
    """KerasHub remembers the preset of a backbone in the names that it was made with."""
    preset = getattr(model, "preset", None) or getattr(model, "_preset", None) or ""
    if PIXEL_PRESETS.search(str(preset)):
        raise ConfigError(
            f"backbone {preset}: was trained on pixel masks, so that a model which starts from it "
            "is not weakly supervised; use a preset trained on image labels"
        )


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
    strides = _strides(model)
    last = {stride: tensor for tensor, stride in strides if stride in (4, 8, 16, 32)}
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
