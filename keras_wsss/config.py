"""Typed configuration: what a YAML file may say, checked before TensorFlow is imported."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from keras_wsss.errors import ConfigError

CONFIG_FOLDER = Path(__file__).resolve().parent / "configs"

# Loss terms that each method has.
METHOD_LOSSES = {
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

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
StepNumber = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JitterConfig(Section):
    """Colour jitter of the image alone; 0 switches a kind off."""

    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class ShapesConfig(Section):
    """The generated data set."""

    train_images: Count = 600
    val_images: Count = 120
    image_size: Annotated[int, Field(ge=32)] = 128
    classes: Annotated[int, Field(ge=6, le=6)] = 6
    seed: int = 0


class DataConfig(Section):
    """Images, tags, lists and augmentation."""

    kind: Literal["voc", "coco", "shapes"] = "voc"
    root: Path | None = None
    train_list: str = "train_aug"
    val_list: str = "val"
    labels: Path | None = None
    labels_key: Literal["labels_from_boxes", "labels"] = "labels_from_boxes"
    classes: list[str] | None = None
    saliency: Path | None = None
    crop_size: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    batch_size: Count = 4
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    flip: Fraction = 0.5
    jitter: JitterConfig = JitterConfig()
    shapes: ShapesConfig = ShapesConfig()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "DataConfig":
        if self.kind != "shapes" and self.root is None:
            raise ValueError("root: not given; set data.root to the folder of the data set")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a name stands twice; name each class once")
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale: the smaller factor comes first")
        return self


class BackboneConfig(Section):
    """The encoder and where its weights come from."""

    name: Literal[
        "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5", "mit_tiny", "efficientnet_lite0"
    ] = "mit_b1"
    weights: str = "none"
    strides: tuple[Count, Count, Count, Count] = (4, 2, 2, 1)
    drop_path_rate: Fraction = 0.1
    allow_pixel_supervision: bool = False


class HeadsConfig(Section):
    """Decoder, classifier and affinity head."""

    decoder: Literal["segformer", "largefov"] = "segformer"
    embedding_dim: Count = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    pooling: Literal["max", "average"] = "max"
    symmetric_affinity: bool | None = None


class CamConfig(Section):
    """Views whose class activations are fused; the first scale is the image itself."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 0.5, 1.5)


class PseudoLabelConfig(Section):
    """From CAM to three-way label."""

    refiner: Literal["varm", "par"] = "varm"
    iterations: Count = 10
    high: Annotated[float, Field(gt=0, lt=1)] = 0.55
    low: Annotated[float, Field(gt=0, lt=1)] = 0.35

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "PseudoLabelConfig":
        if self.low >= self.high:
            raise ValueError("low: must be smaller than high")
        return self


class LossConfig(Section):
    """Weight of a loss term and the 0-based step from which it counts."""

    weight: Annotated[float, Field(ge=0)]
    start_step: StepNumber = 0
    stride: Count = 4


class OptimizerConfig(Section):
    """AdamW with per-group rates; warm-up and polynomial decay."""

    learning_rate: Positive = 6e-5
    head_multiplier: Positive = 10.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    beta_2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warmup_steps: StepNumber = 1500
    warmup_ratio: Annotated[float, Field(gt=0, le=1)] = 1e-6
    power: Annotated[float, Field(ge=0)] = 1.0
    clip_norm: Positive | None = None


class TrainingConfig(Section):
    """Length, logging and devices."""

    steps: Count = 20000
    validate_every: Count = 2000
    log_every: Count = 50
    pictures: StepNumber = 8
    distribution: Literal["mirrored", "none"] = "mirrored"
    xla: bool | Literal["auto"] = "auto"
    mixed_precision: bool = False
    threads: Count | None = None


class EvaluationConfig(Section):
    """Test-time views of the decoder."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    flip: bool = False


class Config(Section):
    """One training run.

    Example:

    >>> config = load_config("animals5_tscd", ["data.root=photos", "training.steps=100"])
    >>> config.training.steps
    100
    """

    name: str
    method: Literal["tscd", "supervised"]
    parity: bool = False
    seed: StepNumber = 1
    data: DataConfig
    backbone: BackboneConfig = BackboneConfig()
    heads: HeadsConfig = HeadsConfig()
    cam: CamConfig = CamConfig()
    pseudo_label: PseudoLabelConfig = PseudoLabelConfig()
    losses: dict[str, LossConfig]
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stages: dict[str, dict[str, Any]] = {}

    @pydantic.field_validator("losses")
    @classmethod
    def _known_losses(cls, losses: dict[str, LossConfig], info: pydantic.ValidationInfo) -> Any:
        known = METHOD_LOSSES.get(info.data.get("method", ""), ())
        for name in losses:
            if known and name not in known:
                raise ValueError(
                    f"{name}: {info.data['method']} has the terms {', '.join(known)}"
                    + _nearest(name, known)
                )
        return losses

    @pydantic.model_validator(mode="after")
    def _within_the_run(self) -> "Config":
        steps = self.training.steps
        for name, term in self.losses.items():
            if term.start_step >= steps:
                raise ValueError(
                    f"losses.{name}.start_step: {term.start_step} is not before the end of the "
                    f"training (training.steps: {steps})"
                )
        if self.optimizer.warmup_steps >= steps:
            raise ValueError(
                f"optimizer.warmup_steps: {self.optimizer.warmup_steps} is not before the end of "
                f"the training (training.steps: {steps})"
            )
        return self

    def to_yaml(self) -> str:
        """The complete configuration as YAML that :func:`load_config` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def stage_configs(self) -> list[tuple[str, "Config"]]:
        """Stages in order as (name, configuration); a single-stage method gives [("", itself)]."""
        if not self.stages:
            return [("", self)]
        base = self.model_dump(mode="json", exclude={"stages"})
        return [
            (stage, _validate(merge(base, overrides), f"stage {stage} of {self.name}"))
            for stage, overrides in self.stages.items()
        ]

    @classmethod
    def from_run(cls, run_dir: str | Path, overrides: Iterable[str] = ()) -> "Config":
        """The configuration of a run folder, with ``key=value`` overrides."""
        path = Path(run_dir) / "config.yaml"
        if not path.exists():
            raise ConfigError(f"{path}: no such file; {run_dir} is not the folder of a run")
        return load_config(path, overrides)


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a configuration by name (as shipped) or path.

    Args:
        name_or_path: name of a file in ``configs/`` without ``.yaml``, or a path.
        overrides: strings ``key.path=value``; values are YAML.

    Returns:
        A validated, immutable :class:`Config`.

    Raises:
        ConfigError: one message with file, key, value, what is allowed and the nearest known key.

    Example:

    >>> load_config("voc_tscd", ["data.root=VOC2012"]).backbone.name
    'mit_b1'
    """
    path = _find(name_or_path, Path.cwd())
    values = _read(path, ())
    values.setdefault("name", path.stem)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {override}: write it as key.path=value")
        value: Any = yaml.safe_load(text)
        if isinstance(value, str):
            value = _number(value)
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return _validate(values, str(path) if not overrides else f"{path} with --set")


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings are merged, all else replaces, and None removes a loss term."""
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _find(name: str | Path, folder: Path) -> Path:
    candidates = [folder / name, folder / f"{name}.yaml", CONFIG_FOLDER / f"{name}.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shipped = sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))
    raise ConfigError(
        f"{name}: neither a file nor a shipped configuration; shipped are {', '.join(shipped)}"
        + _nearest(str(name), shipped)
    )


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise ConfigError(f"{path}: extends itself ({chain}); remove one of the extends")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {type(values).__name__}, not key: value pairs")
    values = _numbers(values)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    return merge(_read(_find(parent, path.parent), (*seen, path)), values)


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-4 as text; everyone means the number."""
    try:
        return float(text) if text[:1] in "+-.0123456789" else text
    except ValueError:
        return text


def _numbers(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _numbers(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_numbers(value) for value in values]
    return _number(values) if isinstance(values, str) else values


def _validate(values: dict[str, Any], source: str) -> Config:
    values = dict(values)
    if isinstance(values.get("losses"), dict):
        values["losses"] = {k: v for k, v in values["losses"].items() if v is not None}
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        problems = "\n  ".join(_problem(detail) for detail in error.errors())
        raise ConfigError(f"{source}: {problems}") from None


def _problem(detail: Any) -> str:
    place = [str(part) for part in detail["loc"] if not str(part).startswith(("function-", "bool"))]
    key = ".".join(place)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        near = _nearest(place[-1], known)
        return f"{key}: unknown key (value {detail['input']!r}); known are {', '.join(known)}{near}"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        return f"{key}.{message}" if key else message
    if detail["type"] == "missing":
        return f"{key}: not given"
    return f"{key}: {detail['msg']} (value {detail['input']!r})"


def _known_keys(place: list[str]) -> list[str]:
    section: Any = Config
    for part in place:
        if section is Config and part == "losses":
            continue
        fields = getattr(section, "model_fields", {})
        section = LossConfig if part not in fields else fields[part].annotation
    return sorted(getattr(section, "model_fields", {}))


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"; did you mean {near[0]}?" if near else ""
