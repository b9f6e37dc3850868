"""Which loss terms count at a step, and so what has to be computed for them."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """The part of a training in which the same loss terms count.

    Attributes:
        terms: frozenset of str, the loss terms that count.
        events: frozenset of str, what has begun beside them, e.g. ``"propagation"``.
        reads: frozenset of str, all that the terms read (see :class:`~keras_wsss.config.Term`). A
            pseudo label is made from maps, so ``"label"`` brings ``"maps"`` with it.
    """

    terms: frozenset
    events: frozenset
    reads: frozenset


class Schedule:
    """The loss terms of a model with the steps from which they count.

    A term that has not started is never computed (not multiplied by 0: 0 times NaN is NaN), nor is
    what only it reads.

    Args:
        settings: :class:`~keras_wsss.config.ModelConfig`.
        scale: float, factor on all steps: a published schedule for a training of another length.
        classifier_steps: int, the step at which the terms begin that learn from what the network
            finds; None: those of ``settings``, scaled.

    Example:

    >>> settings = wsss.load_config("shapes_bmp").for_model()
    >>> sorted(Schedule(settings).phase(0).terms), sorted(Schedule(settings).phase(250).terms)
    (['classification'], ['affinity', 'c2s', 'classification', 's2c'])
    """

    def __init__(self, settings, scale=1.0, classifier_steps=None):
        declared = settings.declaration.terms
        self.scale = scale
        self.terms = {name: declared[name] for name in declared if name in settings.losses}
        self.weights = {name: settings.losses[name].weight for name in self.terms}
        self.starts = {name: round(scale * settings.start_of(name)) for name in self.terms}
        if classifier_steps is not None:
            waiting = [name for name, term in self.terms.items() if term.waits]
            self.starts |= dict.fromkeys(waiting, classifier_steps)
        events = settings.event_starts()
        self.events = {event: round(scale * start) for event, start in events.items()}

    def phase(self, step):
        """The :class:`Phase` of a 0-based step."""
        return self._phase(
            [name for name, start in self.starts.items() if step >= start],
            [event for event, start in self.events.items() if step >= start],
        )

    def phases(self, steps):
        """The phases of a training of so many steps, in their order."""
        step = 0
        while step < steps:
            yield self.phase(step)
            step = self.next_change(step)

    @property
    def last(self):
        """The phase in which everything counts."""
        return self._phase(self.terms, self.events)

    @property
    def decoder_start(self):
        """The step from which the decoder is taught; infinite if it never is."""
        teachers = [name for name, term in self.terms.items() if term.teaches == "decoder"]
        return min((self.starts[name] for name in teachers), default=math.inf)

    def only(self, *terms, events=()):
        """A phase of the given terms alone, e.g. to look at one of them."""
        return self._phase(terms, events)

    def next_change(self, step):
        """The first step after ``step`` at which another phase begins; infinite if none does."""
        starts = (*self.starts.values(), *self.events.values())
        return min((start for start in starts if start > step), default=math.inf)

    def readers(self, phase, what):
        """The terms of a phase that read ``what``, in the order of the method."""
        terms = self.terms.items()
        return [name for name, term in terms if name in phase.terms and what in term.reads]

    def _phase(self, terms, events):
        reads = {what for name in terms for what in self.terms[name].reads}
        if "label" in reads:
            reads.add("maps")
        return Phase(frozenset(terms), frozenset(events), frozenset(reads))
