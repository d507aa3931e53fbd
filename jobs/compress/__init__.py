"""`recsys compress`: smaller encoders, and what each costs in quality."""
