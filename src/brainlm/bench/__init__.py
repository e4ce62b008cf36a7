"""How fast this machine parcellates, reads, trains, embeds, attends and correlates: ``brainlm bench``, as records.

``parcellation``, ``windows``, ``training``, ``embedding``, ``attention`` and ``connectome`` measure; ``timing`` takes
alternatives in turn; ``products`` knows the matrix products of a training step; ``results`` keeps the numbers; ``plan``
says how much is measured and does it all.
"""
