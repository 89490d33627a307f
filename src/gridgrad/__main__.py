"""`python -m gridgrad` is the command `gridgrad`."""

from gridgrad.app import main

if __name__ == "__main__":
    main()
