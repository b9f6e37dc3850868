"""``python -m keras_wsss.export``: as ``keras-wsss export``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from keras_wsss import __main__


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; ``arguments`` are those of the process where they are None."""
    __main__.main(["export", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    main()
