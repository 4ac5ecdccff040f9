"""Evaluate a model: the same as `ser evaluate`; see `python evaluate.py --help`."""

from ser.commands.evaluate import main

if __name__ == "__main__":
    main()
