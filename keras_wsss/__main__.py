"""``keras-wsss COMMAND``: from tagged photographs to a served segmentation model."""

import argparse
import importlib
import keyword
import re

from keras_wsss import __version__
from keras_wsss._command import run_command
from keras_wsss.registry import closest, did_you_mean

COMMANDS = (
    "import",
    "check",
    "train",
    "evaluate",
    "report",
    "predict",
    "labels",
    "export",
    "serve",
    "ask",
    "verify",
)
EXIT_CODES = """\
exit codes:
  0    done
  1    done, but something was left out or found wrong; the output says what
  2    a mistake that you can put right; the message says how
  3    a mistake of this program; --debug shows where
  130  interrupted (143: told to end); what was done is kept
"""


class Parser(argparse.ArgumentParser):
    """Also says which command, option or choice a misspelt one is close to."""

    def parse_known_args(self, args=None, namespace=None):
        options, rest = super().parse_known_args(args, namespace)
        if rest:  # said here, by the command that knows its options
            meant = closest(rest[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(rest)}{did_you_mean(meant)}")
        return options, rest

    def error(self, message):
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += did_you_mean(closest(wrong[1], re.findall(r"[\w-]+", wrong[2])))
        super().error(message)


def main(arguments=None):
    """Parses the command line and runs the command.

    Args:
        arguments: list of str; None: those of the process.
    """
    try:
        options = _parsed(arguments)
        run_command(lambda: options.command(options), debug=options.debug, quiet=options.quiet)
    except KeyboardInterrupt:  # before the command has begun
        raise SystemExit(130) from None


def _parsed(arguments):
    parser = Parser(
        prog="keras-wsss",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"keras_wsss {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        # `import` is a word of Python's.
        file = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"keras_wsss.commands.{file}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        shared = command.add_argument_group("of every command")
        shared.add_argument("--quiet", action="store_true", help="warnings and results only")
        shared.add_argument("--json", action="store_true", help="print the result as JSON alone")
        shared.add_argument(
            "--debug", action="store_true", help="tracebacks, and all that TensorFlow prints"
        )
        command.set_defaults(command=module.run)
    options = parser.parse_args(arguments)
    options.quiet |= options.json  # nothing may stand beside the JSON
    return options


if __name__ == "__main__":
    main()
