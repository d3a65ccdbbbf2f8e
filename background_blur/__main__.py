"""Runs the program as `python -m background_blur`."""

from background_blur.app import program

if __name__ == "__main__":
    program()
