"""`python -m edgeconv` is the command line."""

from edgeconv.cli.main import main

if __name__ == "__main__":
    main(prog_name="edgeconv")
