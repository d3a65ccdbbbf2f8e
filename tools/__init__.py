"""Programs for those who work on the network. Run in the repository's folder, each with --help:

python -m tools.training.train             trains the person network on photographs with masks
python -m tools.training.export            compiles its weights, or the mean of several, for LiteRT
python -m tools.training.convert_weights   turns Google's DeepLabV3 into weights to start from

python -m tools.measuring.evaluate         how good the masks are, beside other networks'
python -m tools.measuring.bench            how fast the program is, beside other recipes

python -m tools.assets.golden              renews the alphas that tests compare with
python -m tools.assets.pictures            renews the pictures of the README

The modules beside them:

command.py    command lines, and one line where something is wrong
photos.py     photographs with masks: what training learns from, and measuring compares with
cutouts.py    people cut out of photographs and blue-screen clips, and put before rooms
training/     dataset, camera_effects (photographs to batches), fold (batch norms, int8 rounding)
measuring/    photographs, clips, people, colours (the sections of evaluate); metrics, scenes,
              contenders, report (what they are made of); live, recipes, figures (of bench)

Only tools.training, and what is asked to run Keras, needs Keras and TensorFlow.
"""
