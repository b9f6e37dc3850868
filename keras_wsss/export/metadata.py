"""What an exported model says about itself; every file that is exported holds it as JSON."""

from __future__ import annotations

from typing import Literal

import pydantic

from keras_wsss.config import Config

Checkpoint = Literal["last", "best"]

SIGNATURE = "serving_default"  # the one that is meant where none is named
MAX_ROWS = 1024  # of a request to the local server; clients send as many at once


class Limits(pydantic.BaseModel):
    """What a served model admits, fixed when it is exported.

    Attributes:
        max_bytes: of the encoded file.
        max_pixels: width x height of the image. A PNG file of 49 kB can decode to 1.2 GB.
        max_frames: of an animated PNG file, whose first frame is taken.
        max_scans: of a progressive JPEG file, each of which goes over the whole image.
        working_size: larger images are shrunk to this longer side for the network; their masks
            still have the size of the image.

    Example:

    >>> Limits(working_size=768).max_pixels
    25000000
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    max_bytes: pydantic.PositiveInt = 10 * 2**20
    max_pixels: pydantic.PositiveInt = 25_000_000
    max_frames: pydantic.PositiveInt = 1
    max_scans: pydantic.PositiveInt = 100
    working_size: int = pydantic.Field(default=512, ge=64)


def limits_of(config: Config, **given: int) -> Limits:
    """What a SavedModel admits: photographs are seen at the size at which they were in training.

    Args:
        config: of the run.
        **given: other values of :class:`Limits`.

    Example:

    >>> limits_of(wsss.load_config("photos", ["data.root=my_set"]), max_scans=10).working_size
    320
    """
    if config.data.working_size is not None:
        given = {"working_size": config.data.working_size, **given}
    return Limits(**given)


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
    checkpoint: Checkpoint
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
        scale: three numbers; the model itself normalises RGB 0..255 to ``scale * x + offset``.
        offset: three numbers.
        square: side of the square to which the model itself resizes images, or None: images keep
            their proportions.
        scores_trained: whether a loss term has taught the classifier; else ``class_scores`` and
            ``image_logits`` mean nothing.
        licence: of the code.
        weights_licence: of the pretrained weights that the training started from.
        provenance: where the weights come from.
        limits: what a SavedModel or a page admits; None in formats that take decoded images.

    Example:

    >>> path = Path("exported/weights/demo/metadata.json")
    >>> Metadata.model_validate_json(path.read_text()).classes[:2]
    ('background', 'star')
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str
    classes: tuple[str, ...]
    palette: tuple[str, ...]
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    square: int | None
    scores_trained: bool = True
    licence: str = "Apache-2.0"
    weights_licence: str
    provenance: Provenance
    limits: Limits | None = None
