"""Lets Keras load our `.keras` files in a process in which only ``keras_wsss`` was imported.

Our modules are imported on first use, but Keras looks a class up by its registered name and cannot
know that ours is still to come. So as soon as Keras is there, a stand-in takes the name of each
method; it imports the class when a file asks for it.
"""

import importlib
import importlib.abc
import importlib.util
import sys

CLASSES = ("AFA", "BMP", "I2CRC", "RRM", "SGN", "Supervised", "TSCD")


def announce_classes():
    """Registers the stand-ins: now if Keras is imported, else when it will be."""
    if "keras" in sys.modules:
        _register_stand_ins()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register_stand_ins():
    registered = sys.modules["keras"].saving.get_custom_objects()
    for name in CLASSES:
        registered.setdefault(f"keras_wsss>{name}", _stand_in(name))


def _stand_in(name):
    """A class whose ``from_config`` is that of the method; importing it replaces the stand-in."""

    def from_config(cls, config):
        return getattr(importlib.import_module("keras_wsss.methods"), name).from_config(config)

    return type(name, (), {"from_config": classmethod(from_config)})


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Waits for the import of Keras, which it leaves to the other finders."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            run = spec.loader.exec_module

            def run_and_register(module):
                run(module)
                _register_stand_ins()

            spec.loader.exec_module = run_and_register
        return spec
