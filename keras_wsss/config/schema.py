"""What a whole configuration holds; its method and kind of data decide about the details."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml
from pydantic import AfterValidator, Field

from keras_wsss.config.data import DataConfig
from keras_wsss.config.declarations import Method
from keras_wsss.config.messages import impossible
from keras_wsss.config.sections import (
    GIVEN_MODEL,
    BackboneConfig,
    EvaluationConfig,
    FolderName,
    HeadsConfig,
    LossConfig,
    OptimizerConfig,
    ScheduledTrainingConfig,
    Section,
    Seed,
    TrainingConfig,
    known,
)
from keras_wsss.registry import METHODS, READERS

MethodName = Annotated[str, AfterValidator(known(METHODS))]


class ModelConfig(Section):
    """Network and objective: all that a model has to know. Methods add sections of their own.

    Example:

    >>> settings = wsss.config.model_settings("tscd", seed=3)
    >>> isinstance(settings, ModelConfig), settings.seed, settings.backbone.name
    (True, 3, 'mit_b1')
    """

    method: MethodName
    parity: bool = False
    seed: Seed = 1
    backbone: BackboneConfig = BackboneConfig()
    heads: HeadsConfig = HeadsConfig()
    losses: Annotated[dict[str, LossConfig], Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _fits_method(self) -> Self:
        method = self.declaration
        if self.parity and not method.has_parity:
            raise impossible("parity", True, f"false; {method.name} has no released code to follow")
        if self.heads.tag_cut and not self.trains_classifier:
            raise impossible("heads.tag_cut", self.heads.tag_cut, "0, where no tags teach scores")
        if method.check:
            method.check(self)
        return self

    @property
    def declaration(self) -> Method:
        """What the method says of itself."""
        declaration: Method = METHODS[self.method]
        return declaration

    def events(self) -> dict[str, str]:
        """What begins at a step that a section names: event -> dotted key of that step."""
        found: dict[str, str] = {}
        for name in type(self).model_fields:
            section = getattr(self, name)
            if isinstance(section, Section):
                found |= {event: f"{name}.{key}" for event, key in section.events().items()}
        return found

    def event_starts(self) -> dict[str, int]:
        """Event -> 0-based step at which it begins."""
        starts = {}
        for event, key in self.events().items():
            section, _, name = key.partition(".")
            starts[event] = getattr(getattr(self, section), name)
        return starts

    def start_of(self, term: str) -> int:
        """0-based step from which a loss term counts."""
        return self.losses[term].start_step or 0

    @property
    def needs_saliency(self) -> bool:
        """Whether a loss term reads saliency maps."""
        return any("saliency" in self.declaration.terms[name].reads for name in self.losses)

    @property
    def trains_decoder(self) -> bool:
        """Whether a loss term teaches the decoder; else only the classifier can be scored."""
        terms = self.declaration.terms
        return any(terms[name].teaches == "decoder" for name in self.losses)

    @property
    def trains_classifier(self) -> bool:
        """Whether image tags teach the classifier; else its scores and CAM mean nothing."""
        return "classification" in self.losses

    def to_yaml(self) -> str:
        """The complete configuration as YAML that can be read back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class Config(ModelConfig):
    """One training run; immutable, and explained key by key in docs/configuration.md.

    Has all that :class:`ModelConfig` has.

    Attributes:
        name: of the configuration.
        data: the section of the kind of data.
        optimizer: section.
        training: section.
        evaluation: section.
        writes: label files that the run leaves.
        stages: name of a stage -> what it overrides; see :func:`stage_configs`.

    Example:

    >>> config = wsss.load_config("animals5_tscd", ["data.root=photos", "seed=3"])
    >>> config.seed
    3
    """

    name: FolderName
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    writes: Literal["none", "saliency_labels", "object_guided_labels"] = "none"
    stages: dict[FolderName, dict[str, Any]] = {}

    @pydantic.model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.backbone.name == GIVEN_MODEL:
            allowed = (
                "a registered name; a network that exists in Python alone can be registered "
                "(keras_wsss.register_backbone)"
            )
            raise impossible("backbone.name", GIVEN_MODEL, allowed)
        return self

    @pydantic.model_validator(mode="after")
    def _fits_length(self) -> Self:
        length_key = "steps" if self.training.recipe_steps is None else "recipe_steps"
        length = getattr(self.training, length_key)
        starts = {self._start_key(name): self.start_of(name) for name in self.losses}
        if min(starts.values()) > 0:
            allowed = "0 for at least one term: nothing would be trained before"
            raise impossible("losses", f"start_step {min(starts.values())} or later", allowed)
        starts |= {key: self.event_starts()[event] for event, key in self.events().items()}
        starts["optimizer.warmup_steps"] = self.optimizer.warmup_steps
        for key, start in starts.items():
            if start >= length:
                allowed = f"less than training.{length_key} ({length}); set one of the two"
                raise impossible(key, start, allowed)
        if self.writes == "object_guided_labels":
            if self.labels_stage is None:
                allowed = (
                    "stage:NAME, the labels that object_guided_labels hold predictions against"
                )
                raise impossible("data.masks", self.data.masks, allowed)
            if not self.trains_decoder:
                allowed = "object_guided_labels only where a loss term trains the decoder"
                raise impossible("writes", self.writes, allowed)
        return self

    def _start_key(self, term: str) -> str:
        """Dotted key of the step from which a loss term counts."""
        waits = self.losses[term].start_step is None and self.start_of(term) > 0
        return "training.classifier_steps" if waits else f"losses.{term}.start_step"

    def start_of(self, term: str) -> int:
        start = self.losses[term].start_step
        if start is None and isinstance(self.training, ScheduledTrainingConfig):
            start = self.training.classifier_steps if self.declaration.terms[term].waits else 0
        return start or 0

    @property
    def labels_stage(self) -> str | None:
        """The stage whose label files are the masks of the training list (``data.masks``)."""
        kind, _, stage = (self.data.masks or "").partition(":")
        return stage if kind == "stage" else None

    def for_model(self) -> ModelConfig:
        """What the model has to know of it: no data, and the start of each term as a number."""
        kind = model_config_class(self.method)
        values = {name: getattr(self, name) for name in kind.model_fields}
        values["losses"] = {
            name: term.model_copy(update={"start_step": self.start_of(name)})
            for name, term in self.losses.items()
        }
        return kind(**values)


class _DataName(pydantic.BaseModel):
    kind: Annotated[str, AfterValidator(known(READERS))]


class Names(pydantic.BaseModel):
    """What has to be right before the keys of a configuration are known; the rest is ignored."""

    method: MethodName
    data: _DataName


def config_class(method: str, kind: str) -> type[Config]:
    """The :class:`Config` of a method and a kind of data.

    Raises:
        ConfigError: there is no method, or no reader, of that name.

    Example:

    >>> sorted(set(config_class("sgn", "voc").model_fields) - set(Config.model_fields))
    ['sgn']
    """
    made: type[Config] = _config_class(METHODS[method], READERS[kind].section)
    return made


def model_config_class(method: str) -> type[ModelConfig]:
    """The :class:`ModelConfig` of a method.

    Raises:
        ConfigError: there is no method of that name.

    Example:

    >>> sorted(set(model_config_class("tscd").model_fields) - set(ModelConfig.model_fields))
    ['cam', 'pseudo_label']
    """
    made: type[ModelConfig] = _model_config_class(METHODS[method])
    return made


@functools.lru_cache
def _config_class(method: Method, data: type[DataConfig]) -> Any:
    fields: dict[str, Any] = {"data": (data, ...)}
    if any(term.waits for term in method.own_terms.values()):
        fields["training"] = (ScheduledTrainingConfig, ScheduledTrainingConfig())
    return _specific(Config, method, fields)


@functools.lru_cache
def _model_config_class(method: Method) -> Any:
    return _specific(ModelConfig, method, {})


def _specific(base: type[Any], method: Method, fields: dict[str, Any]) -> Any:
    """``base`` with the loss terms and the sections of a method, and with ``fields``."""
    for name, section in method.sections.items():
        fields[name] = (section, section())
    fields["losses"] = (Annotated[method.losses, Field(min_length=1)], ...)
    title = method.name.title().replace("_", "")
    return pydantic.create_model(f"{title}{base.__name__}", __base__=base, **fields)
