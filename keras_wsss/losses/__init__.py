"""Loss terms, one file each. Arguments in Keras' order: what is true first."""

from keras_wsss.losses.affinity import affinity_loss
from keras_wsss.losses.agreement import agreement_loss
from keras_wsss.losses.branch_consistency import (
    class_to_segmentation,
    segmentation_to_class,
)
from keras_wsss.losses.classification import multilabel_soft_margin
from keras_wsss.losses.correspondence import correspondence_distillation
from keras_wsss.losses.energy import dense_energy
from keras_wsss.losses.equivariance import cam_equivariance, cam_equivariance_released
from keras_wsss.losses.relation import class_agnostic_distance, class_specific_distance
from keras_wsss.losses.segmentation import (
    balanced_cross_entropy,
    cross_entropy,
    multi_scale_cross_entropy,
)

__all__ = [
    "affinity_loss",
    "agreement_loss",
    "balanced_cross_entropy",
    "cam_equivariance",
    "cam_equivariance_released",
    "class_agnostic_distance",
    "class_specific_distance",
    "class_to_segmentation",
    "correspondence_distillation",
    "cross_entropy",
    "dense_energy",
    "multi_scale_cross_entropy",
    "multilabel_soft_margin",
    "segmentation_to_class",
]
