"""``python -m keras_wsss.verify``: as ``keras-wsss verify``."""

import sys

from keras_wsss import __main__


def main(arguments=None):
    """Runs the command; ``arguments`` are those of the process where they are None."""
    __main__.main(["verify", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    main()
