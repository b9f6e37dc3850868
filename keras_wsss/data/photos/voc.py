"""Folders of VOC annotations: one XML file an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_wsss.data.classes import listed_classes
from keras_wsss.data.photos.scan import PhotoFiles
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.data.text import read_xml


def read_voc(paths: Sequence[Path], images: Path, annotations: Path) -> Source:
    """Reads the names of the objects of every image.

    An XML file belongs to the photograph that is called like itself, or else to the one that its
    ``filename`` names.

    Args:
        paths: XML files.
        images: folder of the photographs.
        annotations: folder that holds all the XML files.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`; a photograph without XML file is one about
        which nothing is said, a file without objects one without tags.

    Raises:
        DataError: a file cannot be read, or none has a photograph.

    Example:

    >>> folder, images = Path("VOC2012/Annotations"), Path("VOC2012/JPEGImages")
    >>> read_voc(sorted(folder.glob("*.xml")), images, folder).class_names
    ('cat',)
    """
    files = PhotoFiles(images)
    entries = []
    for path in paths:
        root = read_xml(path)
        name = path.relative_to(annotations).with_suffix("").as_posix()
        if not files.called(name):
            name = (root.findtext("filename") or name).strip()
        tags = tuple((item.findtext("name") or "").strip() for item in root.iter("object"))
        entries.append(Entry(name, tags, str(path)))
    return assemble(
        "VOC annotations",
        annotations,
        files,
        entries,
        listed_classes(images),
        called="the XML files",
    )
