"""``python -m keras_wsss.train --config voc_tscd``: trains and evaluates a configuration."""

import argparse
import json

from keras_wsss._command import add_override_argument, run_command
from keras_wsss.config import load_config


def main(arguments=None):
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(prog="python -m keras_wsss.train", description=__doc__)
    parser.add_argument("--config", required=True, help="name of a shipped configuration or path")
    add_override_argument(parser)
    parser.add_argument("--run-dir", help="folder of the run (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="four steps: model table, memory, estimated time"
    )
    options = parser.parse_args(arguments)

    def command():
        config = load_config(options.config, options.overrides)
        from keras_wsss import training  # after the configuration: TensorFlow is slow to import

        if options.dry_run:
            print(json.dumps(training.dry_run(config), indent=2))
        else:
            run_dir = options.run_dir or f"runs/{config.name}"
            print(json.dumps(training.train(config, run_dir, options.resume), indent=2))

    run_command(command)


if __name__ == "__main__":
    main()
