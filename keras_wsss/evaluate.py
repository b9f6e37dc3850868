"""``python -m keras_wsss.evaluate --run DIR``: scores a trained run on any list with masks."""

import argparse
import json
from pathlib import Path

from keras_wsss._command import add_override_argument, run_command
from keras_wsss.config import load_run_config


def main(arguments=None):
    """Parses the command line and evaluates."""
    parser = argparse.ArgumentParser(prog="python -m keras_wsss.evaluate", description=__doc__)
    parser.add_argument("--run", required=True, help="folder of a trained run")
    add_override_argument(parser)
    parser.add_argument(
        "--scales",
        type=lambda text: [float(scale) for scale in text.split(",")],
        help="test-time scales, e.g. 0.75,1,1.25 (the first is the reference grid)",
    )
    parser.add_argument("--flip", action="store_true", default=None, help="average with mirror")
    parser.add_argument("--json", type=Path, help="also write the scores to this file")
    options = parser.parse_args(arguments)

    def command():
        config = load_run_config(options.run, options.overrides)
        from keras_wsss.inference.evaluate_run import evaluate_run

        report = json.dumps(
            evaluate_run(options.run, config, options.scales, options.flip), indent=2
        )
        if options.json:
            options.json.write_text(report + "\n")
        print(report)

    run_command(command)


if __name__ == "__main__":
    main()
