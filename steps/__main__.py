"""The course's one command. `python -m steps` lists the steps; `python -m steps --help` says what else it can do."""

import sys

from tools import environment

if __name__ == "__main__":
    environment.enter("steps", sys.argv[1:])

# from here on everything is installed

from tools import cli

if __name__ == "__main__":
    cli.main(sys.argv[1:])
