"""Train a model: the same as `ser train`; see `python train.py --help`."""

from ser.__main__ import quiet_imports

with quiet_imports():
    from ser.commands.train import main

if __name__ == "__main__":
    main()
