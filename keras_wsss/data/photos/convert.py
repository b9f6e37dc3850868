"""Opening photographs of any kind, and saving as JPEG or PNG those that a training cannot read."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from keras_wsss.data.cut_files import is_cut
from keras_wsss.data.decodable import HEAD, check_decodable
from keras_wsss.data.photos.duplicates import fingerprint
from keras_wsss.data.photos.scan import examples
from keras_wsss.data.places import check_regular
from keras_wsss.errors import DataError

# Pillow's names of the formats that a training reads -> suffix.
READABLE = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
}
HEIF_SUFFIXES = (".heic", ".heif")
QUALITY = 95
DRAFT = 64  # pixels; JPEG files are decoded no larger than needed
INSTALL = "pip install 'keras_wsss[photos]'"


@dataclass(frozen=True)
class Examined:
    """What was found in a photograph's file.

    Attributes:
        suffix: that a training reads it under, or None: it has to be converted.
        fingerprint: see :func:`~keras_wsss.data.photos.duplicates.fingerprint`.
    """

    suffix: str | None
    fingerprint: int


@functools.cache
def _heif() -> bool:
    """Whether Pillow reads HEIC files."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def check_plugins(paths: Sequence[Path]) -> None:
    """Looks for HEIC files that cannot be read for want of a package.

    Raises:
        DataError: there are some; names what to install.
    """
    heif = [path for path in paths if path.suffix.lower() in HEIF_SUFFIXES]
    if heif and not _heif():
        raise DataError(
            f"{len(heif)} photographs are HEIC files ({examples(path.name for path in heif)}), "
            f"which need a package: {INSTALL}"
        )


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A photograph's file, opened by its content whatever its suffix.

    Raises:
        DataError: it cannot be decoded, also within the ``with`` block.
    """
    _heif()
    check_regular(path)
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        head = path.read_bytes()[:12]
        if head[4:8] == b"ftyp" and not _heif():
            raise DataError(f"{path}: is a HEIC or AVIF file, which needs {INSTALL}") from error
        reason = "the file is empty (0 bytes)" if not head else "is no photograph"
        raise DataError(f"{path}: {reason}; replace the file") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); replace the file") from error


def reason_of(error: Exception, path: Path) -> str:
    """What is wrong with a file, of a message ``PATH: REASON; FIX``."""
    return str(error).removeprefix(f"{path}: ").partition("; ")[0]


def small(path: Path, side: int) -> Image.Image:
    """A photograph upright and in RGB, to be looked at.

    Args:
        path: the photograph.
        side: below which a JPEG file need not be decoded.

    Raises:
        DataError: it cannot be decoded.

    Example:

    >>> small(Path("photos/cat/1.jpg"), 200).size
    (56, 40)
    """
    with opened(path) as image:
        image.draft("RGB", (side, side))
        return ImageOps.exif_transpose(eight_bits(image, path)).convert("RGB")


def examine(path: Path) -> Examined:
    """Decodes a photograph, in a small size where its format allows it.

    Raises:
        DataError: it cannot be decoded.

    Example:

    >>> examine(Path("photos/cat/1.jpg")).suffix
    '.jpg'
    """
    with opened(path) as image:
        suffix = readable_suffix(image, path)
        image.draft("L", (DRAFT, DRAFT))
        image.load()
        found = Examined(suffix, fingerprint(eight_bits(image, path)))
    check_whole(path, path.read_bytes())
    return found


def check_whole(path: Path, data: bytes) -> None:
    """Refuses a file that lacks rows though it decodes.

    Args:
        path: of the file, for the message.
        data: its bytes.

    Raises:
        DataError: it does.
    """
    if is_cut(data):
        raise DataError(f"{path}: is cut off (rows of pixels are missing); replace the file")


def readable_suffix(image: Image.Image, path: Path) -> str | None:
    """The suffix under which a training reads an opened file; None: it has to be converted."""
    suffix = READABLE.get(image.format or "")
    if suffix in (".bmp", ".gif", ".webp") and not _is_decodable(path):
        return None
    if suffix != ".jpg" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return None  # it reads the orientation of JPEG files only
    return suffix


def _is_decodable(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        check_decodable(str(path), head, path.stat().st_size)
    except DataError:
        return False
    return True


@functools.lru_cache(maxsize=100_000)
def _examined(path: Path, size: int, changed: int) -> Examined:
    return examine(path)


def examined(path: Path) -> Examined:
    """As :func:`examine`, once for each state of the file."""
    state = path.stat()
    return _examined(path, state.st_size, state.st_mtime_ns)


def eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """The image with 8 bits a channel; of 16 bits the upper 8 are kept, as in training.

    Raises:
        DataError: its values are of no known range.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(f"{path}: has 32 bits a pixel; save it with 8 bits a channel")
    return image


def save_converted(path: Path, target: Path) -> Path:
    """Saves a photograph upright as JPEG, or as PNG where it has transparent pixels.

    Args:
        path: the photograph.
        target: path without suffix.

    Returns:
        The file that was written.

    Raises:
        DataError: the photograph cannot be decoded.

    Example:

    >>> Image.open("photo.jpg").save("scan.tif")
    >>> save_converted(Path("scan.tif"), Path("scan")).as_posix()
    'scan.jpg'
    """
    with opened(path) as image:
        picture = ImageOps.exif_transpose(eight_bits(image, path))
        # The profile says which colours the numbers mean; all else of a camera is left out.
        kept = {key: picture.info[key] for key in ("icc_profile",) if picture.info.get(key)}
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            if np.asarray(picture)[..., 3].min() < 255:
                file = target.with_name(f"{target.name}.png")
                picture.save(file, **kept)
                return file
        file = target.with_name(f"{target.name}.jpg")
        if picture.mode == "CMYK":
            kept = {}  # its profile is not one of RGB
        picture.convert("RGB").save(file, quality=QUALITY, subsampling=0, **kept)
        return file
