"""Makes the pictures in assets/ and tests/golden/."""
