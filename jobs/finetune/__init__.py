"""`recsys finetune`: tune the encoder on a shop, and keep it if it is better."""
