"""The library: `from blur import BackgroundBlur`, or `from background_blur` once installed.

    import cv2

    from blur import BackgroundBlur

    blur = BackgroundBlur(strength=0.8)
    result = blur(cv2.imread("me.jpg"))  # call it with each frame of a video, in order
    cv2.imwrite("out.jpg", result.image)

The code that processes a frame is in background_blur/pipeline.py.
"""

from background_blur.frames import Frame, Result
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings

__all__ = ["BackgroundBlur", "Frame", "Result", "Settings"]
