"""Labels in the formats of annotation tools, so that people can correct them.

Each file here is a format; :data:`keras_wsss.registry.LABEL_FORMATS` has their names.
"""

from keras_wsss.inference.label_formats.base import LabelFormat, LabelledPhoto
from keras_wsss.inference.label_formats.writing import write_labels

__all__ = ["LabelFormat", "LabelledPhoto", "write_labels"]
