"""The course's one command. `python -m steps` lists the steps; `python -m steps --help` says what else it can do."""

import sys

from tools import environment

if __name__ == "__main__":
    if sys.argv[1:2] == ["doctor"] and not environment.STAMP.is_file():
        from tools import doctor  # where the set-up fails, it says why

        sys.exit(doctor.examine())
    environment.enter("steps", sys.argv[1:])

# from here on everything is installed

from tools import cli

if __name__ == "__main__":
    cli.main(sys.argv[1:])
