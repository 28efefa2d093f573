"""`python -m` of this folder: the command `leukemia`, with or without an installation."""

from .main import main

if __name__ == "__main__":
    main(prog_name="leukemia")
