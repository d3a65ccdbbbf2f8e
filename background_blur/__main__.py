"""`python -m background_blur`: the same as `python main.py`."""

from main import program

if __name__ == "__main__":
    program()
