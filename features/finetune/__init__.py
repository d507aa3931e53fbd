"""Fine-tuning the text encoder on a shop's own texts and behaviour.

`mlm` teaches it the shop's language, `contrastive` which of the shop's texts belong together (the pairs come from
`pairs`), and `sentiment` puts a head on it that reads reviews. `tuning` says which weights are trained, `loop` trains
them and survives a kill, `record` keeps what a run did.

An `Encoder` is tuned in place: its id and digest are those of the files it came from until `export` has saved it and
`load_encoder` reads it again.
"""
