"""How the bundled face finder and face landmarks were made.

    python -m training.faces cache --data DATA --teacher LABELS LABELS_2 --cache CACHE
    python -m training.faces landmarks --cache CACHE --minutes 30
    python -m training.faces finder --cache CACHE --minutes 30

`training/teacher.py` writes the labels, `cache` decodes what they describe once, the other two
train and export. Training goes on from its last checkpoint when it is started again.
"""
