"""`python -m background_blur`: the program."""

from background_blur.app import program

if __name__ == "__main__":
    program()
