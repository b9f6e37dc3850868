"""How a method declares itself: its loss terms, its sections of the configuration, its model.

A declaration knows no TensorFlow, so that configurations can be checked against it at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict
from typing_extensions import TypedDict

from keras_wsss.config.messages import impossible
from keras_wsss.config.sections import BY_AFFINITY, LossConfig, Section
from keras_wsss.errors import ConfigError
from keras_wsss.registry import resolve

# What comes with the data; a term that reads nothing else need not wait for the classifier.
GIVEN = frozenset({"mask", "saliency"})


@dataclass(frozen=True)
class Term:
    """A loss term of a method.

    Attributes:
        teaches: the part of the network, beside the encoder, that its gradient reaches.
        reads: what it needs beside tags and the outputs of the gradient pass. ``mask`` and
            ``saliency`` come with the batch, ``affinity`` with the gradient pass, ``maps`` and
            ``label`` (the pseudo label) from the labeller; other names are the method's own.
            ``phase.reads`` holds those of the terms that count at a step, and what none of them
            reads is not computed.
        settings: section of the term's keys.

    Example:

    >>> Term("decoder", reads=("label",)).settings.__name__
    'LossConfig'
    """

    teaches: Literal["classifier", "decoder", "affinity"]
    reads: tuple[str, ...] = ()
    settings: type[LossConfig] = LossConfig

    @property
    def waits(self) -> bool:
        """Whether it learns from what the network finds, and so from a trained classifier."""
        return not GIVEN.issuperset(self.reads)


_SALIENCY = Term("classifier", reads=("saliency",))

COMMON_TERMS: dict[str, Term] = {
    "classification": Term("classifier"),
    "object_distance": _SALIENCY,
    "background_distance": _SALIENCY,
    "class_distance": _SALIENCY,
}
"""Terms that every method may have: the tags', and I2CRC's relation constraints."""


@dataclass(frozen=True, eq=False)
class Method:
    """A method that ``method`` may name.

    Attributes:
        name: value of the key ``method``.
        model: subclass of :class:`keras_wsss.methods.WSSSModel`, or where it stands
            (``module:attribute``).
        own_terms: its loss terms beside ``COMMON_TERMS``, in the order in which they are added up.
        sections: its own sections of the configuration, and those shared ones that it extends.
        reported: sections that only reports read: they do not decide about the weights.
        recipe: name of the configuration with its published recipe, from which a model takes what
            it is not told; None: all loss terms have to be given.
        has_parity: whether ``parity: true`` (follow the released code) makes a difference.
        check: function of a configuration that raises
            :func:`~keras_wsss.config.messages.impossible` for what does not go together.

    Example:

    >>> terms = {"segmentation": Term("decoder", reads=("label",))}
    >>> method = wsss.register_method("seeds", Method("seeds", "seeds:Seeds", terms))
    >>> sorted(method.terms)
    ['background_distance', 'class_distance', 'classification', 'object_distance', 'segmentation']
    """

    name: str
    model: str | type[Any]
    own_terms: Mapping[str, Term]
    sections: Mapping[str, type[Section]] = field(default_factory=dict)
    reported: tuple[str, ...] = ()
    recipe: str | None = None
    has_parity: bool = False
    check: Callable[[Any], None] | None = None

    @functools.cached_property
    def terms(self) -> dict[str, Term]:
        """All its loss terms, in the order in which they are added up."""
        return COMMON_TERMS | dict(self.own_terms)

    @functools.cached_property
    def losses(self) -> Any:
        """Type of the section ``losses``; a term that is not named is not computed."""
        kinds = {name: term.settings for name, term in self.terms.items()}
        losses = TypedDict("Losses", kinds, total=False)  # type: ignore[misc]
        losses.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
        return losses

    @property
    def needs_masks(self) -> bool:
        """Whether training batches have to hold ``mask``."""
        return any("mask" in term.reads for term in self.terms.values())

    def model_class(self) -> Any:
        """The class, which is imported now if it was not before."""
        model = resolve(self.model)
        if model.method != self.name:
            raise ConfigError(
                f"method {self.name}: its model {model.__name__} says method = {model.method!r}; "
                "both have to be the same"
            )
        return model


def check_propagation(config: Any) -> None:
    """A ``Method.check``: what spreads by affinity needs the term that trains it.

    Args:
        config: :class:`~keras_wsss.config.ModelConfig` of the method.

    Raises:
        PydanticCustomError: there is no such term; :func:`~keras_wsss.config.load_config` makes a
            ``ConfigError`` of it.

    Example:

    >>> check_propagation(wsss.config.model_settings("bmp"))  # its affinity is trained
    """
    propagation = config.pseudo_label.propagation
    if propagation in BY_AFFINITY and "affinity" not in config.losses:
        allowed = "none, or a configuration with losses.affinity: nothing else trains it"
        raise impossible("pseudo_label.propagation", propagation, allowed)
