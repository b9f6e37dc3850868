"""``python -m keras_wsss.export``: as ``keras-wsss export``."""

import sys

from keras_wsss.__main__ import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
