"""How fast this machine parcellates, reads, trains and embeds: what ``brainlm bench`` measures, as plain records.

``parcellation``, ``windows``, ``training`` and ``embedding`` measure; ``timing`` takes alternatives in turn;
``products`` knows the matrix products of a training step; ``results`` keeps the numbers; ``plan`` says how much is
measured and does it all.
"""
