"""Typed configuration: what a YAML file may say, checked before TensorFlow is imported.

Every key is explained in ``docs/configuration.md``.
"""

from keras_wsss.config.data import DataConfig, Reader
from keras_wsss.config.declarations import Method, Term, check_propagation
from keras_wsss.config.files import load_config, load_run_config, shipped_configs
from keras_wsss.config.identity import decisive, digest
from keras_wsss.config.keys import known_keys
from keras_wsss.config.length import of_length
from keras_wsss.config.messages import impossible
from keras_wsss.config.published import model_settings, published_config
from keras_wsss.config.schema import Config, ModelConfig, config_class, model_config_class
from keras_wsss.config.sections import (
    AffinityHeadsConfig,
    CamConfig,
    EnergyConfig,
    HeadsConfig,
    LossConfig,
    OptimizerConfig,
    PropagatedLabelConfig,
    PseudoLabelConfig,
    Section,
)
from keras_wsss.config.stages import stage_configs, stage_digests
from keras_wsss.config.validation import merge, section

__all__ = [
    "AffinityHeadsConfig",
    "CamConfig",
    "Config",
    "DataConfig",
    "EnergyConfig",
    "HeadsConfig",
    "LossConfig",
    "Method",
    "ModelConfig",
    "OptimizerConfig",
    "PropagatedLabelConfig",
    "PseudoLabelConfig",
    "Reader",
    "Section",
    "Term",
    "check_propagation",
    "config_class",
    "decisive",
    "digest",
    "impossible",
    "known_keys",
    "load_config",
    "load_run_config",
    "merge",
    "model_config_class",
    "model_settings",
    "of_length",
    "published_config",
    "section",
    "shipped_configs",
    "stage_configs",
    "stage_digests",
]
