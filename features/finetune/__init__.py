"""Fine-tuning the text encoder on a shop's own texts and behaviour.

`mlm` adapts it to the shop's language, `contrastive` trains it on pairs of related texts (built by `pairs`),
`projection` fits a linear map on its vectors, and `sentiment` trains a head that predicts the sentiment of reviews.
`tuning` selects the weights to train, `loop` trains them and can resume after a crash, `record` stores what a run did.

An `Encoder` is tuned in place: it has the id and digest of the files that it was loaded from until `export` has saved
it and `load_encoder` has read it again.
"""
