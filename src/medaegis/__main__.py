"""`python -m medaegis` is the command `medaegis`."""

from medaegis.cli import main

if __name__ == "__main__":
    main()
