"""What an exported model says about itself; every file that is exported holds it as JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from keras_wsss.backbones import weights_licence
from keras_wsss.config import Config
from keras_wsss.export.guards import Limits
from keras_wsss.palette import voc_palette


class Provenance(pydantic.BaseModel):
    """Where the weights come from.

    Attributes:
        config, method, parity, seed: of the training.
        config_hash: of all that decides about the weights.
        supervision: what the network learned from: ``tags``, ``masks`` ...
        checkpoint, step: the weights that were exported, and after how many steps they were saved.
        weights_sha256: of that file.
        validation_miou: percent, of the run's own summary; None where it has none.
        keras_wsss: version of this library.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    config: str
    config_hash: str
    method: str
    parity: bool
    seed: int
    supervision: str
    checkpoint: Literal["last", "best"]
    step: int
    weights_sha256: str
    validation_miou: float | None
    keras_wsss: str


class Metadata(pydantic.BaseModel):
    """What an exported model says about itself.

    Attributes:
        format: version of this schema.
        name: of the model.
        classes: names by mask id; 0 is the background.
        palette: colours by mask id, ``#rrggbb``, those of PASCAL VOC.
        scale, offset: three numbers each; the model itself normalises RGB 0..255 to
            ``scale * x + offset``.
        square: side of the square to which the model itself resizes images, or None: images keep
            their proportions.
        licence: of the code.
        weights_licence: of the pretrained weights that the training started from.
        provenance: where the weights come from.
        limits: what a SavedModel admits; None in other formats, which take decoded images.

    Example:

    >>> Metadata.model_validate_json(Path("metadata.json").read_text()).classes[0]
    'background'
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str
    classes: tuple[str, ...]
    palette: tuple[str, ...]
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    square: int | None
    licence: str = "Apache-2.0"
    weights_licence: str
    provenance: Provenance
    limits: Limits | None = None


def describe(
    name: str, model: Any, config: Config, classes: tuple[str, ...], provenance: Provenance
) -> Metadata:
    """Metadata of a model.

    Args:
        name: of the exported model.
        model: :class:`~keras_wsss.methods.WSSSModel`.
        config: its configuration.
        classes: foreground classes.
        provenance: where the weights come from.
    """
    black, white = (np.full((1, 1, 1, 3), value, np.float32) for value in (0, 255))
    # Asked of the encoder, so that it cannot differ from what the encoder does.
    low, high = (np.asarray(model.backbone.preprocess(image)).ravel() for image in (black, white))
    return Metadata(
        name=name,
        classes=("background", *classes),
        palette=tuple(f"#{bytes(rgb).hex()}" for rgb in voc_palette()[: len(classes) + 1]),
        scale=tuple(((high - low) / 255).tolist()),
        offset=tuple(low.tolist()),
        square=config.data.crop_size if config.data.warp else None,
        weights_licence=weights_licence(config.backbone.name, config.backbone.weights),
        provenance=provenance,
    )


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
