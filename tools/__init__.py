"""Programs for working on the network. Run them in the repository's folder; each has --help:

python -m tools.training.train             trains the person network on photographs with masks
python -m tools.training.export            compiles its weights, or the mean of several, for LiteRT
python -m tools.training.convert_weights   turns Google's DeepLabV3 into weights to start from

python -m tools.measuring.evaluate         measures how good the masks are, next to other networks'
python -m tools.measuring.bench            measures how fast the program is, next to other recipes

python -m tools.assets.golden              regenerates the alphas that tests compare with
python -m tools.assets.pictures            regenerates the pictures in the README

Other modules:

command.py    command lines, and one-line error messages
photos.py     photographs with masks, for training to learn from and measuring to compare with
cutouts.py    people cut out of photographs and blue-screen clips, and placed in rooms
training/     dataset, camera_effects (photographs to batches), fold (batch norms, int8 rounding)
measuring/    photographs, clips, people, colours (the sections of evaluate); metrics, scenes,
              contenders, report (what they are made of); stand_ins, recipes, costs (of bench)

Only tools.training, and options that run Keras, need Keras and TensorFlow.
"""
