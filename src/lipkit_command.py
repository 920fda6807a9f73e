"""The `lipkit` command, outside the package: importing that one needs a usable Keras backend."""

import sys


def main():
    """Run the command line, or say in one line why it cannot be."""
    try:
        from lipkit.cli import app
    except ImportError as error:
        print(f"lipkit: {error}", file=sys.stderr)
        sys.exit(2)
    app(prog_name="lipkit")


if __name__ == "__main__":
    main()
