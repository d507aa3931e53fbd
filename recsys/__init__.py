"""The domain: data contracts, algorithms and evaluation. Knows no Ray, LanceDB, HTTP or transformers."""
