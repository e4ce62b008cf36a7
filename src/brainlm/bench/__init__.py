"""How fast this machine parcellates, reads, trains, embeds and correlates: what ``brainlm bench`` measures, as records.

``parcellation``, ``windows``, ``training``, ``embedding`` and ``connectome`` measure; ``timing`` takes alternatives in
turn; ``products`` knows the matrix products of a training step; ``results`` keeps the numbers; ``plan`` says how much
is measured and does it all.
"""
