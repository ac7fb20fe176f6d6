"""`python -m jobtuner.cli`."""

from jobtuner.cli import main

if __name__ == "__main__":
    main()
