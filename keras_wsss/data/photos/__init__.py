"""People's photographs with tags, as they have them: found, read, split and imported.

One file for each kind of source; ``recognise`` says which it is. None of them needs TensorFlow.
"""
