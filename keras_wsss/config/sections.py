"""Sections of a configuration that several methods share; docs/configuration.md explains them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

from keras_wsss.config.messages import impossible
from keras_wsss.registry import BACKBONES, DECODERS, Registry

Count = Annotated[int, Field(ge=1)]
StepNumber = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy and Keras take
WorkingSize = Annotated[int, Field(ge=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Scales = Annotated[tuple[Positive, ...], Field(min_length=1)]


def known(registry: Registry, *others: str) -> Callable[[str], str]:
    """A validator of names: they have to be registered, or be among the others."""

    def check(name: str) -> str:
        if name in (*registry, *others):
            return name
        *names, last = (f"'{each}'" for each in registry)
        expected = f"{', '.join(names)} or {last}" if names else last
        raise PydanticKnownError("literal_error", {"expected": expected})

    return check


def _one_folder(name: str) -> str:
    if not name.strip() or name in (".", "..") or set(name) & set("/\\\0"):
        raise PydanticCustomError("folder", "the name of one folder, without / and \\")
    return name


# Runs and stages have folders of their names, which must lie where they are looked for.
FolderName = Annotated[str, AfterValidator(_one_folder)]


class Section(BaseModel):
    """Base of all sections: immutable, finite numbers, and an unknown key is an error.

    Example:

    >>> class Seeds(Section):
    ...     count: int = 10
    >>> Seeds(count=3)
    Seeds(count=3)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def events(self) -> dict[str, str]:
        """What begins at a step that this section names: event -> key of that step."""
        return {}


GIVEN_MODEL = "keras_model"
"""Name of a backbone that was handed over in Python, which no file can name."""


# ---- network ---------------------------------------------------------------------------------


class BackboneConfig(Section):
    """The encoder and where its weights come from."""

    name: Annotated[str, AfterValidator(known(BACKBONES, GIVEN_MODEL))] = "mit_b1"
    weights: str = "none"
    strides: tuple[Count, Count, Count, Count] = (4, 2, 2, 1)
    drop_path_rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    allow_pixel_supervision: bool = False


class HeadsConfig(Section):
    """Decoder and image classifier.

    Example:

    >>> HeadsConfig(pooling="average").decoder
    'segformer'
    """

    decoder: Annotated[str, AfterValidator(known(DECODERS))] = "segformer"
    embedding_dim: Count = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    pooling: Literal["max", "average"] = "max"
    classifier_bias: bool = False
    tag_cut: Fraction = 0.0


class AffinityHeadsConfig(HeadsConfig):
    """Decoder, image classifier and affinity head.

    Example:

    >>> AffinityHeadsConfig(symmetric_affinity=True).decoder
    'segformer'
    """

    symmetric_affinity: bool | None = None


# ---- class activation maps and pseudo labels -------------------------------------------------


class CamConfig(Section):
    """Views whose class activations are fused.

    Example:

    >>> CamConfig().scales
    (1.0, 0.5, 1.5)
    """

    scales: Scales = (1.0, 0.5, 1.5)


class PseudoLabelConfig(Section):
    """From class activation map to three-way label. A method adds the refiners it can use.

    Example:

    >>> PseudoLabelConfig(refiner="par").high
    0.55
    """

    refiner: str
    iterations: Count = 10
    high: OpenFraction = 0.55
    low: OpenFraction = 0.35

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise impossible("low", self.low, f"less than pseudo_label.high ({self.high})")
        return self


class PropagatedLabelConfig(PseudoLabelConfig):
    """As :class:`PseudoLabelConfig`, of a class activation map that may be spread first.

    A method adds the propagations it can use.

    Example:

    >>> PropagatedLabelConfig(refiner="par", propagation="random_walk").propagation_start
    0
    """

    propagation: str = "none"
    propagation_start: StepNumber = 0

    def events(self) -> dict[str, str]:
        return {} if self.propagation == "none" else {"propagation": "propagation_start"}


# Propagations that read the affinity of the largest view.
BY_AFFINITY = ("random_walk", "affinity_processing")
PropagationByAffinity = Literal["none", "random_walk", "affinity_processing"]


# ---- objective -------------------------------------------------------------------------------


class LossConfig(Section):
    """Weight of a loss term and the 0-based step from which it counts.

    Where ``start_step`` is unset, a term that learns from what the network itself finds waits for
    ``training.classifier_steps``; all others count from the beginning.

    Example:

    >>> LossConfig(weight=0.1, start_step=2000)
    LossConfig(weight=0.1, start_step=2000)
    """

    weight: NotNegative
    start_step: StepNumber | None = None


class EnergyConfig(LossConfig):
    """The dense energy; its sum over pixels is taken on a grid of this stride (1 = exact).

    Example:

    >>> EnergyConfig(weight=0.1).stride
    4
    """

    stride: Count = 4


# ---- training and evaluation -----------------------------------------------------------------


class OptimizerConfig(Section):
    """AdamW or SGD with a rate per group; linear warm-up, then polynomial decay or steps.

    Example:

    >>> OptimizerConfig(kind="sgd", learning_rate=1e-3).momentum
    0.9
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 6e-5
    head_multiplier: Positive = 10.0
    bias_multiplier: Positive = 2.0
    weight_decay: NotNegative = 0.01
    beta_2: OpenFraction = 0.999
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    warmup_steps: StepNumber = 1500
    warmup_ratio: Annotated[float, Field(gt=0, le=1)] = 1e-6
    power: NotNegative = 1.0
    step_size: Count = 1
    milestones: tuple[Count, ...] = ()
    milestone_factor: OpenFraction = 0.1
    clip_norm: Positive | None = None


class TrainingConfig(Section):
    """Length, logging and devices.

    With ``recipe_steps``, all that begins at a step is written for a training of that length, and
    is brought to the length that the training has: ``steps``, or where that is null ``epochs``.
    """

    steps: Count | None = 20000
    epochs: Positive | None = None
    recipe_steps: Count | None = None
    validate_every: Count = 2000
    log_every: Count = 50
    pictures: StepNumber = 8
    distribution: Literal["mirrored", "none"] = "mirrored"
    xla: Literal["auto", True, False] = "auto"
    mixed_precision: bool = False
    threads: Count | None = None
    on_divergence: Literal["stop", "last_good"] = "stop"
    unreadable_share: Fraction = 0.01

    @pydantic.model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.steps is None and (self.epochs is None or self.recipe_steps is None):
            raise impossible(
                "steps", None, "a number, or null with training.epochs and recipe_steps"
            )
        return self


class ScheduledTrainingConfig(TrainingConfig):
    """As :class:`TrainingConfig`, where the classifier trains alone before other terms count."""

    classifier_steps: StepNumber = 0


class EvaluationConfig(Section):
    """Test-time views of the decoder, and how much in-training validation looks at."""

    scales: Scales = (1.0,)
    flip: bool = False
    crf: bool = False
    max_images: Count | None = None


def section_keys(section: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name of every key of a section, sections included -> its type.

    Example:

    >>> list(section_keys(CamConfig))
    ['scales']
    """
    keys: dict[str, Any] = {}
    for name, kind in fields_of(section).items():
        keys[prefix + name] = kind
        keys |= section_keys(kind, f"{prefix}{name}.")
    return keys


def fields_of(section: Any) -> dict[str, Any]:
    """Name and type of the keys of a section or of a dict of loss terms; none for a plain value."""
    if hasattr(section, "__total__"):  # a TypedDict
        return dict(section.__annotations__)
    if isinstance(section, type) and issubclass(section, Section):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return {}
