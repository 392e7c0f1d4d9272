"""`python -m medaegis` is the command `medaegis`."""

from medaegis.cli import main

main()
