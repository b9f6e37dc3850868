"""What a configuration may say of SGN."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from keras_wsss.config import Method, Section, Term, impossible
from keras_wsss.config.sections import Count, Fraction, OpenFraction, StepNumber


class SGNConfig(Section):
    """SGN's way from class maps to labels (its `losses.agreement` replaces the random walk)."""

    labels_from: Literal["localization", "affinity", "image"] = "image"
    mix: Fraction = 0.5
    mix_start: StepNumber = 8000
    mix_end: StepNumber = 14000
    levels: Annotated[tuple[Literal[1, 2, 3], ...], Field(min_length=1)] = (1, 2, 3)
    affinity_radius: Count = 8
    walk_steps: Count = 8
    restart: Fraction = 0.2
    guided_radius: Count = 16
    epsilon: Annotated[float, Field(ge=1e-5)] = 1e-3
    class_score: OpenFraction = 0.35
    background_score: OpenFraction = 0.15
    margin: Fraction = 0.05

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.mix_start >= self.mix_end:
            allowed = f"less than sgn.mix_end ({self.mix_end})"
            raise impossible("mix_start", self.mix_start, allowed)
        if self.background_score >= self.class_score:
            allowed = f"less than sgn.class_score ({self.class_score})"
            raise impossible("background_score", self.background_score, allowed)
        return self

    def events(self) -> dict[str, str]:
        return {"mixing": "mix_start"} if self.mix > 0 else {}


SGN = Method(
    "sgn",
    "keras_wsss.methods.sgn.model:SGN",
    {
        "segmentation": Term("decoder", reads=("label",)),
        "agreement": Term("classifier", reads=("maps",)),
    },
    sections={"sgn": SGNConfig},
    recipe="voc_sgn",
)
