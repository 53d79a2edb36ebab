"""`python -m thalweg`: the same commands as ./thalweg, in an environment that is already there."""

from thalweg.cli import main

main()
