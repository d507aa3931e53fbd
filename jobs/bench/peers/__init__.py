"""Other libraries that benchmarks compare with.

`models` runs in an environment of its own, `sentence_encoder` in ours.
"""
