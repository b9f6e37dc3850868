"""Typed configuration: what a YAML file may say, checked before TensorFlow is imported.

A file may name parents (``extends: voc_base`` or ``extends: [voc_tscd, animals5_base]``); mappings
are merged into the parents', everything else replaces it, and a null removes an inherited loss
term. Every key is explained in ``docs/configuration.md``.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticKnownError
from typing_extensions import TypedDict

from keras_wsss.errors import ConfigError

CONFIG_FOLDER = Path(__file__).resolve().parent / "configs"

# Usable with every method; they read saliency maps.
RELATION_LOSSES = ("object_distance", "background_distance", "class_distance")

# Where no other term counts, nothing teaches the decoder and its predictions mean nothing.
CLASSIFIER_LOSSES = ("classification", *RELATION_LOSSES)

# The methods that a file may name, and their loss terms; register_method adds to it.
METHOD_LOSSES: dict[str, tuple[str, ...]] = {
    "afa": ("classification", "segmentation", "affinity", "energy"),
    "bmp": ("classification", "c2s", "s2c", "affinity"),
    "i2crc": ("classification",),
    "rrm": ("classification", "segmentation", "energy"),
    "sgn": ("classification", "segmentation", "agreement"),
    "tscd": (
        "classification",
        "segmentation",
        "affinity",
        "correspondence",
        "energy",
        "equivariance",
    ),
    "supervised": ("classification", "segmentation"),
}

# What a method's pseudo labels may be refined with; the first is its default.
METHOD_REFINERS: dict[str, tuple[str, ...]] = {
    "afa": ("par", "varm"),
    "bmp": ("par", "varm"),
    "i2crc": ("par", "varm"),
    "rrm": ("par", "varm", "crf"),
    "sgn": ("guided_filter",),
    "tscd": ("varm", "par"),
    "supervised": ("varm", "par"),
}

# How a method may spread its CAM before it is refined.
METHOD_PROPAGATIONS: dict[str, tuple[str, ...]] = {
    "afa": ("none", "random_walk", "affinity_processing"),
    "bmp": ("none", "random_walk", "affinity_processing", "background_aware"),
    "tscd": ("none", "random_walk", "affinity_processing"),
}

# Propagations that read the affinity of the largest view.
BY_AFFINITY = ("random_walk", "affinity_processing")


def _known_method(name: str) -> str:
    if name not in METHOD_LOSSES:
        known = [f"'{method}'" for method in METHOD_LOSSES]
        expected = f"{', '.join(known[:-1])} or {known[-1]}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return name


Method = Annotated[str, AfterValidator(_known_method)]
Count = Annotated[int, Field(ge=1)]
StepNumber = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Scales = Annotated[tuple[Positive, ...], Field(min_length=1)]


class Section(BaseModel):
    """Base of all sections: immutable, finite numbers, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class JitterConfig(Section):
    """Colour jitter of the image alone; 0 switches a kind off."""

    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class ShapesConfig(Section):
    """The generated data set (``data.kind: shapes``)."""

    train_images: Count = 600
    val_images: Count = 120
    image_size: Annotated[int, Field(ge=32)] = 128
    classes: Count = 6
    seed: StepNumber = 0


class DataConfig(Section):
    """Images, tags, lists and augmentation."""

    kind: Literal["voc", "coco", "shapes"]
    root: Path | None = None
    train_list: str = "train_aug"
    val_list: str = "val"
    labels: Path | None = None
    labels_key: Literal["labels_from_boxes", "labels"] = "labels_from_boxes"
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    saliency: Path | None = None
    masks: str | None = None
    crop_size: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    batch_size: Count = 4
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    flip: Fraction = 0.5
    warp: bool = False
    jitter: JitterConfig = JitterConfig()
    shapes: ShapesConfig = ShapesConfig()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind != "shapes" and self.root is None:
            raise _impossible("root", None, "the folder of the data set (--set data.root=FOLDER)")
        if self.classes and len(set(self.classes)) < len(self.classes):
            raise _impossible("classes", list(self.classes), "each class named once")
        if self.scale[0] > self.scale[1]:
            raise _impossible("scale", list(self.scale), "[smallest, largest]")
        return self


class BackboneConfig(Section):
    """The encoder and where its weights come from."""

    name: Literal[
        "mit_b0",
        "mit_b1",
        "mit_b2",
        "mit_b3",
        "mit_b4",
        "mit_b5",
        "mit_tiny",
        "efficientnet_lite0",
        "vgg16",
        "vgg16_largefov",
        "resnet50",
        "resnet101",
    ] = "mit_b1"
    weights: str = "none"
    strides: tuple[Count, Count, Count, Count] = (4, 2, 2, 1)
    drop_path_rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    allow_pixel_supervision: bool = False


class HeadsConfig(Section):
    """Decoder, image classifier and affinity head."""

    decoder: Literal["segformer", "largefov", "deeplabv2", "linear"] = "segformer"
    embedding_dim: Count = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    pooling: Literal["max", "average"] = "max"
    classifier_bias: bool = False
    object_gate: bool = True
    symmetric_affinity: bool | None = None


class CamConfig(Section):
    """Views whose class activations are fused."""

    scales: Scales = (1.0, 0.5, 1.5)


class PseudoLabelConfig(Section):
    """From class activation map to three-way label."""

    refiner: Literal["varm", "par", "guided_filter", "crf"] | None = None
    iterations: Count = 10
    high: OpenFraction = 0.55
    low: OpenFraction = 0.35
    propagation: Literal["none", "random_walk", "affinity_processing", "background_aware"] = "none"
    propagation_start: StepNumber = 0
    confidence: OpenFraction = 0.5

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise _impossible("low", self.low, f"less than pseudo_label.high ({self.high})")
        return self


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
            raise _impossible("mix_start", self.mix_start, allowed)
        if self.background_score >= self.class_score:
            allowed = f"less than sgn.class_score ({self.class_score})"
            raise _impossible("background_score", self.background_score, allowed)
        return self


class LossConfig(Section):
    """Weight of a loss term and the 0-based step from which it counts."""

    weight: NotNegative
    start_step: StepNumber = 0


class SegmentationConfig(LossConfig):
    """The decoder's term; ``supervised`` can have it on several sizes of the image."""

    extra_scales: tuple[Positive, ...] = ()


class EnergyConfig(LossConfig):
    """The dense energy; its sum over pixels is taken on a grid of this stride (1 = exact)."""

    stride: Count = 4


class AffinityConfig(LossConfig):
    """The affinity, and whether its labels are made before or after the CAM is propagated."""

    labels: Literal["cam", "propagated"] = "cam"


class C2SConfig(LossConfig):
    """BMP's first direction: the CAM's labels teach the decoder."""

    form: Literal["bce", "ce"] = "bce"


class S2CConfig(LossConfig):
    """BMP's second direction: what the decoder is sure of teaches the CAM."""

    form: Literal["ce", "bce"] = "ce"
    threshold: float = 0.75
    threshold_on: Literal["logit", "probability"] = "logit"


class Losses(TypedDict, total=False):
    """The terms of a training objective; a term that is not named is not computed."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    classification: LossConfig
    segmentation: SegmentationConfig
    affinity: AffinityConfig
    correspondence: LossConfig
    energy: EnergyConfig
    equivariance: LossConfig
    c2s: C2SConfig
    s2c: S2CConfig
    agreement: LossConfig
    object_distance: LossConfig
    background_distance: LossConfig
    class_distance: LossConfig


_OWN_METHODS = frozenset(METHOD_LOSSES)
_OWN_TERMS = frozenset(Losses.__annotations__)


class OptimizerConfig(Section):
    """AdamW or SGD with a rate per group; linear warm-up, then polynomial decay or steps."""

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
    """Length, logging and devices."""

    steps: Count = 20000
    validate_every: Count = 2000
    log_every: Count = 50
    pictures: StepNumber = 8
    distribution: Literal["mirrored", "none"] = "mirrored"
    xla: Literal["auto", True, False] = "auto"
    mixed_precision: bool = False
    threads: Count | None = None


class EvaluationConfig(Section):
    """Test-time views of the decoder, and how much in-training validation looks at."""

    scales: Scales = (1.0,)
    flip: bool = False
    crf: bool = False
    max_images: Count | None = None


class Config(Section):
    """One training run.

    Example:

    >>> config = load_config("animals5_tscd", ["data.root=photos", "seed=3"])
    >>> config.seed
    3
    """

    name: str
    method: Method
    parity: bool = False
    seed: StepNumber = 1
    data: DataConfig
    backbone: BackboneConfig = BackboneConfig()
    heads: HeadsConfig = HeadsConfig()
    cam: CamConfig = CamConfig()
    pseudo_label: PseudoLabelConfig = PseudoLabelConfig()
    sgn: SGNConfig = SGNConfig()
    losses: Annotated[Losses, Field(min_length=1)]
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    writes: Literal["none", "saliency_labels", "object_guided_labels"] = "none"
    stages: dict[str, dict[str, Any]] = {}

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        steps = self.training.steps
        terms: dict[str, LossConfig] = dict(self.losses)  # type: ignore[arg-type]
        for name, term in terms.items():
            known = METHOD_LOSSES[self.method] + RELATION_LOSSES
            if name not in known:
                allowed = f"the terms of {self.method}: {', '.join(known)}"
                raise _impossible(f"losses.{name}", term.model_dump(), allowed)
            if term.start_step >= steps:
                allowed = f"less than training.steps ({steps})"
                raise _impossible(f"losses.{name}.start_step", term.start_step, allowed)
        first = min(term.start_step for term in terms.values())
        if first > 0:
            allowed = "0 for at least one term: nothing would be trained before"
            raise _impossible("losses", f"start_step {first} or later", allowed)
        segmentation = self.losses.get("segmentation")
        if segmentation and segmentation.extra_scales and self.method != "supervised":
            scales = list(segmentation.extra_scales)
            raise _impossible("losses.segmentation.extra_scales", scales, "[] but for supervised")
        refiners = METHOD_REFINERS[self.method]
        if self.pseudo_label.refiner not in (None, *refiners):
            allowed = f"the refiners of {self.method}: {', '.join(refiners) or 'none'}"
            raise _impossible("pseudo_label.refiner", self.pseudo_label.refiner, allowed)
        propagations = METHOD_PROPAGATIONS.get(self.method, ("none",))
        if self.pseudo_label.propagation not in propagations:
            allowed = f"the propagations of {self.method}: {', '.join(propagations)}"
            raise _impossible("pseudo_label.propagation", self.pseudo_label.propagation, allowed)
        learnt = self.losses.get("affinity")
        if self.pseudo_label.propagation in BY_AFFINITY and not learnt:
            allowed = "none, or a configuration with losses.affinity: nothing else trains it"
            raise _impossible("pseudo_label.propagation", self.pseudo_label.propagation, allowed)
        if learnt and learnt.labels == "propagated":
            if self.method != "afa" or self.pseudo_label.propagation == "none":
                allowed = "cam; propagated is for afa with a pseudo_label.propagation"
                raise _impossible("losses.affinity.labels", learnt.labels, allowed)
        if self.pseudo_label.propagation_start >= steps:
            start = self.pseudo_label.propagation_start
            allowed = f"less than training.steps ({steps})"
            raise _impossible("pseudo_label.propagation_start", start, allowed)
        if self.optimizer.warmup_steps >= steps:
            allowed = f"less than training.steps ({steps})"
            raise _impossible("optimizer.warmup_steps", self.optimizer.warmup_steps, allowed)
        if self.writes == "object_guided_labels":
            if self.labels_stage is None:
                allowed = (
                    "stage:NAME, the labels that object_guided_labels hold predictions against"
                )
                raise _impossible("data.masks", self.data.masks, allowed)
            if not self.trains_decoder:
                allowed = "object_guided_labels only where a loss term trains the decoder"
                raise _impossible("writes", self.writes, allowed)
        return self

    @property
    def refiner(self) -> str | None:
        """The refiner of the pseudo labels: the one that is set, or the method's own, if any."""
        own = METHOD_REFINERS[self.method]
        return self.pseudo_label.refiner or (own[0] if own else None)

    @property
    def needs_saliency(self) -> bool:
        """Whether a loss term reads saliency maps."""
        return any(name in RELATION_LOSSES for name in self.losses)

    @property
    def trains_decoder(self) -> bool:
        """Whether a loss term teaches the decoder; else only the classifier can be scored."""
        return any(name not in CLASSIFIER_LOSSES for name in self.losses)

    @property
    def labels_stage(self) -> str | None:
        """The stage whose label files are the masks of the training list (``data.masks``)."""
        kind, _, stage = (self.data.masks or "").partition(":")
        return stage if kind == "stage" else None

    def decisive(self) -> dict[str, Any]:
        """All that decides about the weights and label files of a run, by dotted key."""
        everything = _flat(self.model_dump(mode="json", exclude={"name", "stages"}))
        training = ("training.steps", "training.mixed_precision")
        return {
            key: value
            for key, value in everything.items()
            if key not in ("data.root", "evaluation.max_images")
            and (key in training or not key.startswith("training."))
        }

    def digest(self, source: str = "") -> str:
        """Hash of :meth:`decisive`.

        Args:
            source: digest of the stage whose labels this one trains on.
        """
        text = source + json.dumps(self.decisive(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The complete configuration as YAML that :func:`load_config` reads back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def stage_configs(self) -> list[tuple[str, "Config"]]:
        """The stages of a multi-stage method in their order, as pairs of name and configuration.

        A stage is this configuration with the stage's overrides merged into it; with ``extends``
        those of an earlier stage come first. A method of one stage gives ``[("", self)]``.

        Raises:
            ConfigError: a stage cannot be used, or names another one that is not before it.
        """
        base = self.model_dump(mode="json", exclude={"stages"})
        stages: list[tuple[str, Config]] = []
        resolved: dict[str, dict[str, Any]] = {}
        for stage, overrides in self.stages.items():
            where = f"{self.name}, stage {stage}"
            parent = overrides.get("extends")
            if parent not in (None, *resolved):
                known = ", ".join(resolved) or "none here"
                raise ConfigError(
                    f"{where}: extends: value {_shown(parent)}; allowed: an earlier stage ({known})"
                )
            own = {key: value for key, value in overrides.items() if key != "extends"}
            overrides = resolved[stage] = merge(resolved.get(parent or "", {}), own)
            config = _validate(merge(base, overrides), [(where, overrides)])
            earlier = [name for name, other in stages if other.writes != "none"]
            if config.labels_stage not in (None, *earlier):
                known = ", ".join(f"stage:{name}" for name in earlier) or "none here"
                raise ConfigError(
                    f"{where}: data.masks: value {config.data.masks!r}; allowed: an earlier stage "
                    f"that writes labels ({known}), or a folder"
                )
            stages.append((stage, config))
        return stages or [("", self)]

    def stage_digests(self) -> dict[str, str]:
        """Digest of every stage; another one of a stage also changes those that use its labels."""
        digests: dict[str, str] = {}
        for stage, config in self.stage_configs():
            digests[stage] = config.digest(digests.get(config.labels_stage or "", ""))
        return digests

    @classmethod
    def from_run(cls, run_dir: str | Path, overrides: Iterable[str] = ()) -> "Config":
        """The configuration of a run folder, with overrides ``key.path=value``.

        Raises:
            ConfigError: the folder holds no ``config.yaml``, or one that is not valid.
        """
        path = Path(run_dir) / "config.yaml"
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; {run_dir} is not the folder of a run")
        return load_config(path, overrides)


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a configuration by its shipped name or by path.

    Args:
        name_or_path: name of a file in ``configs/`` without ``.yaml``, or a path.
        overrides: strings ``key.path=value`` (``--set``); values are YAML.

    Returns:
        A validated, immutable :class:`Config`.

    Raises:
        ConfigError: one message with file, key, value, what is allowed and the nearest known key.

    Example:

    >>> load_config("voc_tscd", ["data.root=VOC2012"]).backbone.name
    'mit_b1'
    """
    path = _find(name_or_path, Path.cwd())
    layers = [*_layers(path), *(_override(text) for text in overrides)]
    values: dict[str, Any] = {"name": path.stem}
    for _, layer in layers:
        values = merge(values, layer)
    config = _validate(values, layers, str(path))
    config.stage_configs()  # a mistake in a late stage must not wait until the first has trained
    return config


def allow_method(
    name: str,
    losses: Mapping[str, type[LossConfig] | None],
    refiners: tuple[str, ...] = ("par", "varm"),
    propagations: tuple[str, ...] = ("none",),
) -> None:
    """Lets configurations name a method of your own; :func:`methods.register_method` calls it.

    Args:
        name: str, value of the key ``method``.
        losses: its loss terms; None for one that this module knows, for a new one the section
            that its settings have.
        refiners, propagations: what it can use; the first refiner is its default.

    Raises:
        ConfigError: the library has a method or loss term of that name, or a term is not known.

    Example:

    >>> allow_method("seeds", {"classification": None, "contrast": LossConfig})
    """
    if name in _OWN_METHODS:
        raise ConfigError(f"method {name}: is one of the library's; choose another name")
    known = _fields(Losses)
    for term, section in losses.items():
        if section is None and term not in known:
            raise ConfigError(
                f"method {name}: loss term {term}: not known; allowed: {', '.join(known)}, or a "
                f"new one with the section of its settings{_did_you_mean(_closest(term, known))}"
            )
        if section is not None and term in _OWN_TERMS:
            raise ConfigError(f"method {name}: loss term {term}: is the library's; give it None")
    Losses.__annotations__.update({term: kind for term, kind in losses.items() if kind})
    Config.model_rebuild(force=True)
    METHOD_LOSSES[name] = tuple(losses)
    METHOD_REFINERS[name] = refiners
    METHOD_PROPAGATIONS[name] = propagations


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings are merged, everything else is replaced.

    Example:

    >>> merge({"data": {"flip": 0.5, "root": "a"}}, {"data": {"root": "b"}})
    {'data': {'flip': 0.5, 'root': 'b'}}
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def known_keys(section: Any = Config, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys, sections included.

    Example:

    >>> "data.crop_size" in known_keys()
    True
    """
    for name, kind in _fields(section).items():
        yield prefix + name
        yield from known_keys(kind, f"{prefix}{name}.")


# ---- reading ---------------------------------------------------------------------------------

# What a file, or one --set, says: where it stands, for messages, and its values.
Layer = tuple[str, Mapping[str, Any]]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (1e-4 is one) and no key twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _find(name: str | Path, folder: Path) -> Path:
    for candidate in (folder / name, folder / f"{name}.yaml", CONFIG_FOLDER / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    shipped = shipped_configs()
    raise ConfigError(
        f"{name}: neither a file nor a shipped configuration; shipped are {', '.join(shipped)}"
        + _did_you_mean(_closest(str(name), shipped))
    )


def shipped_configs() -> list[str]:
    """Names of the configurations that come with the package and can be trained.

    Example:

    >>> "voc_tscd" in shipped_configs()
    True
    """
    stems = (path.stem for path in CONFIG_FOLDER.glob("*.yaml"))
    return sorted(stem for stem in stems if not stem.endswith("_base"))


def _layers(path: Path, children: tuple[Path, ...] = ()) -> list[Layer]:
    """The file and all that it extends, parents first."""
    if path.resolve() in children:
        names = " -> ".join(file.name for file in (*children, path))
        raise ConfigError(f"{path}: extends: a cycle ({names}); remove one of them")
    try:
        values = yaml.load(path.read_bytes(), _Loader)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {_one_line(error)}; allowed: YAML") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {_shown(values)}; allowed: a mapping of keys to values")
    layer = str(path), values
    parents = values.pop("extends", None) or []
    if isinstance(parents, str):
        parents = [parents]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        allowed = "a name or path, or a list of them"
        raise ConfigError(f"{path}: extends: {_shown(parents)}; allowed: {allowed}")
    inherited: list[Layer] = []
    for parent in parents:
        for source, said in _layers(_find(parent, path.parent), (*children, path.resolve())):
            # What two parents share must not undo what the first of them changed in it.
            if not any(Path(source).samefile(known) for known, _ in inherited):
                inherited.append((source, {k: v for k, v in said.items() if k != "name"}))
    return [*inherited, layer]


def _override(text: str) -> Layer:
    source = f"--set {text}"
    key, separator, yaml_text = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"{source}: allowed: key.path=value")
    try:
        value = yaml.load(yaml_text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: {key}: {_one_line(error)}; allowed: YAML") from error
    for part in reversed(key.split(".")):
        value = {part: value}
    return source, value


# ---- checking --------------------------------------------------------------------------------


def _validate(values: Mapping[str, Any], layers: list[Layer], source: str | None = None) -> Config:
    """The configuration that ``values`` describe; ``source`` is blamed for what no layer says."""
    terms = values.get("losses")
    if isinstance(terms, Mapping):
        removed = {name for name in _fields(Losses) if terms.get(name, 0) is None}
        kept = {name: term for name, term in terms.items() if name not in removed}
        values = {**values, "losses": kept}
    try:
        # JSON, because strict checking of Python objects would refuse a list for a tuple.
        return Config.model_validate_json(json.dumps(values, default=str), strict=True)
    except pydantic.ValidationError as error:
        problems = [_problem(detail, layers, source) for detail in error.errors()]
        raise ConfigError("\n".join(problems)) from None


def _impossible(key: str, value: Any, allowed: str) -> PydanticCustomError:
    """A value that is ruled out by other values; ``key`` is relative to the section."""
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("impossible", "{allowed}", context)


def _problem(detail: ErrorDetails, layers: list[Layer], source: str | None) -> str:
    place = [str(part) for part in detail["loc"]]
    value, allowed, nearest = detail["input"], detail["msg"].removeprefix("Input should be "), ""
    if detail["type"] == "impossible":
        place += detail["ctx"]["key"].split(".")
        value = detail["ctx"]["value"]
    elif detail["type"] == "missing":
        value, allowed = None, "a value; there is no default"
    elif allowed == "an object":  # JSON's word
        allowed = "a mapping of keys to values"
    elif detail["type"] == "literal_error":
        nearest = _did_you_mean(_closest(str(value), re.findall(r"'([^']*)'", allowed)))
    elif detail["type"] == "extra_forbidden":
        siblings = [key.rpartition(".")[2] for key in _siblings(place)]
        elsewhere = {key.rpartition(".")[2]: key for key in known_keys()}
        allowed = f"the keys {', '.join(siblings)}"
        if near := _closest(place[-1], siblings):
            nearest = _did_you_mean(".".join([*place[:-1], near]))
        else:
            nearest = _did_you_mean(elsewhere.get(_closest(place[-1], elsewhere), ""))
    key = ".".join(place)
    blamed = next((name for name, layer in reversed(layers) if _says(layer, place)), None)
    where = blamed or source or layers[-1][0]
    unknown = "unknown key, " if detail["type"] == "extra_forbidden" else ""
    return f"{where}: {key}: {unknown}value {_shown(value)}; allowed: {allowed}{nearest}"


def _says(values: Any, place: list[str]) -> bool:
    """Whether ``values`` hold the key at ``place``, or a list or scalar on the way to it."""
    for part in place:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def _siblings(place: list[str]) -> list[str]:
    parent = ".".join(place[:-1])
    return [key for key in known_keys() if key.rpartition(".")[0] == parent]


def _fields(section: Any) -> dict[str, Any]:
    """Name and type of the keys of a section; none for a plain value."""
    if section is Losses:
        return dict(Losses.__annotations__)
    if isinstance(section, type) and issubclass(section, Section):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return {}


def _closest(word: str, known: Iterable[str]) -> str:
    return "".join(difflib.get_close_matches(word, list(known), n=1))


def _did_you_mean(name: str) -> str:
    return f"; did you mean {name}?" if name else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
