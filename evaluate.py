"""Evaluate a model: the same as `ser evaluate`; see `python evaluate.py --help`."""

from ser.__main__ import quiet_imports

with quiet_imports():
    from ser.commands.evaluate import main

if __name__ == "__main__":
    main()
