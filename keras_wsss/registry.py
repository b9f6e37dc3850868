"""What users name: methods, backbones, decoders, data readers, formats of exports and of labels.

Ours stand here as ``module:attribute`` and are imported when they are first asked for, so that a
name can be checked without TensorFlow. One's own are added by the ``register_*`` functions, from
any file, before a configuration that names them is loaded:

>>> @wsss.register_backbone("my_net")
... def my_net(strides, drop_path_rate, seed, **options):
...     return keras.Sequential([keras.layers.Conv2D(8, 4, strides=4)])
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_wsss.errors import ConfigError


class Registry(Mapping[str, Any]):
    """Things by name.

    Args:
        kind: what they are, for messages, e.g. ``"backbone"``.
        ours: name -> ``module:attribute``; these cannot be replaced.

    Example:

    >>> "tscd" in METHODS, METHODS["tscd"].terms["energy"].teaches
    (True, 'decoder')
    """

    def __init__(self, kind: str, ours: Mapping[str, str]):
        self.kind = kind
        self._ours = frozenset(ours)
        self._entries: dict[str, Any] = dict(ours)

    def register(self, name: str, entry: Any = None) -> Any:
        """Adds one's own; a name of one's own that is there already is replaced.

        Args:
            name: as configurations give it.
            entry: the thing, or ``module:attribute``; None makes this a decorator. A method is a
                :class:`~keras_wsss.config.Method`, a data reader a
                :class:`~keras_wsss.config.Reader`, a backbone or a decoder a function that builds
                one, an export format a function of an :class:`~keras_wsss.export.formats.ExportJob`
                and a label format a :class:`~keras_wsss.inference.label_formats.LabelFormat`.

        Returns:
            ``entry``, or the decorator.

        Raises:
            ConfigError: the name is one of the library's, or the thing has another one.

        Example:

        >>> entry = wsss.register_backbone("my_net", "my_net:build")  # in my_net.py
        >>> "my_net" in BACKBONES
        True
        """
        if name in self._ours:
            raise ConfigError(f"{self.kind} {name}: is one of the library's; choose another name")
        if entry is None:
            return lambda thing: self.register(name, thing)
        if getattr(entry, "name", name) != name:
            raise ConfigError(f"{self.kind} {name}: calls itself {entry.name}; use one name")
        self._entries[name] = entry
        return entry

    def is_ours(self, name: str) -> bool:
        """Whether a name is one of the library's."""
        return name in self._ours

    def unregister(self, name: str) -> None:
        """Takes one's own away again."""
        if name not in self._ours:
            self._entries.pop(name, None)

    def __getitem__(self, name: str) -> Any:
        """The thing of that name.

        Raises:
            ConfigError: there is none; the message lists the known names.
        """
        if name not in self._entries:
            raise ConfigError(
                f"{self.kind} {name!r}: not known; known: {', '.join(sorted(self))}"
                f"{did_you_mean(closest(str(name), self))}"
            )
        entry = self._entries[name] = resolve(self._entries[name])
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def resolve(entry: Any) -> Any:
    """The thing that ``module:attribute`` names; anything but a string as it is.

    Raises:
        ImportError, AttributeError: there is no such module or attribute.

    Example:

    >>> resolve("math:floor")(2.5)
    2
    """
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def closest(word: str, known: Iterable[str]) -> str:
    """The known name that is most like ``word``; empty where none is.

    Example:

    >>> closest("resnet5", BACKBONES)
    'resnet50'
    """
    return "".join(difflib.get_close_matches(word, list(known), n=1))


def did_you_mean(name: str) -> str:
    """The end of a message that suggests ``name``, if there is one.

    Example:

    >>> did_you_mean(closest("tcsd", METHODS))
    '; did you mean tscd?'
    """
    return f"; did you mean {name}?" if name else ""


METHODS = Registry(
    "method",
    {
        "afa": "keras_wsss.methods.afa.settings:AFA",
        "bmp": "keras_wsss.methods.bmp.settings:BMP",
        "i2crc": "keras_wsss.methods.i2crc.settings:I2CRC",
        "rrm": "keras_wsss.methods.rrm.settings:RRM",
        "sgn": "keras_wsss.methods.sgn.settings:SGN",
        "tscd": "keras_wsss.methods.tscd.settings:TSCD",
        "supervised": "keras_wsss.methods.supervised.settings:SUPERVISED",
    },
)
BACKBONES = Registry(
    "backbone",
    {
        "mit_b0": "keras_wsss.backbones.builders:mit_b0",
        "mit_b1": "keras_wsss.backbones.builders:mit_b1",
        "mit_b2": "keras_wsss.backbones.builders:mit_b2",
        "mit_b3": "keras_wsss.backbones.builders:mit_b3",
        "mit_b4": "keras_wsss.backbones.builders:mit_b4",
        "mit_b5": "keras_wsss.backbones.builders:mit_b5",
        "mit_tiny": "keras_wsss.backbones.builders:mit_tiny",
        "efficientnet_lite0": "keras_wsss.backbones.builders:efficientnet_lite0",
        "efficientnet_lite1": "keras_wsss.backbones.builders:efficientnet_lite1",
        "efficientnet_lite2": "keras_wsss.backbones.builders:efficientnet_lite2",
        "vgg16": "keras_wsss.backbones.builders:vgg16",
        "vgg16_largefov": "keras_wsss.backbones.builders:vgg16_largefov",
        "resnet50": "keras_wsss.backbones.builders:resnet50",
        "resnet101": "keras_wsss.backbones.builders:resnet101",
    },
)
DECODERS = Registry(
    "decoder",
    {
        "segformer": "keras_wsss.heads.builders:segformer",
        "largefov": "keras_wsss.heads.builders:largefov",
        "deeplabv2": "keras_wsss.heads.builders:deeplabv2",
        "linear": "keras_wsss.heads.builders:linear",
    },
)
READERS = Registry(
    "data reader",
    {
        "voc": "keras_wsss.config.data:VOC",
        "coco": "keras_wsss.config.data:COCO",
        "shapes": "keras_wsss.config.data:SHAPES",
        "photos": "keras_wsss.config.data:PHOTOS",
    },
)
FORMATS = Registry(
    "export format",
    {
        "saved_model": "keras_wsss.export.formats:saved_model",
        "onnx": "keras_wsss.export.formats:onnx",
        "litert": "keras_wsss.export.formats:litert",
        "weights": "keras_wsss.export.formats:weights",
        "web": "keras_wsss.export.formats:web",
    },
)
LABEL_FORMATS = Registry(
    "label format",
    {
        "voc": "keras_wsss.inference.label_formats.voc:VOC",
        "coco": "keras_wsss.inference.label_formats.coco:COCO",
        "coco-polygons": "keras_wsss.inference.label_formats.coco:COCO_POLYGONS",
        "label-studio": "keras_wsss.inference.label_formats.label_studio:LABEL_STUDIO",
        "cvat": "keras_wsss.inference.label_formats.cvat:CVAT",
        "yolo-seg": "keras_wsss.inference.label_formats.yolo_seg:YOLO_SEG",
        "png": "keras_wsss.inference.label_formats.png:PNG",
    },
)

register_method = METHODS.register
register_backbone = BACKBONES.register
register_decoder = DECODERS.register
register_reader = READERS.register
register_format = FORMATS.register
register_label_format = LABEL_FORMATS.register


def usual_formats() -> tuple[str, ...]:
    """The export formats that are written where none is named.

    All that are registered but the page for browsers, which needs a package from npm.

    Example:

    >>> usual_formats()
    ('saved_model', 'onnx', 'litert', 'weights')
    """
    return tuple(name for name in FORMATS if name != "web")
