"""The service from a shop's side: `from serving.client import Client`.

Python's standard library alone, so a shop may also copy this folder into its own code.
"""

from .answers import SlateResponse
from .shop_client import Client
from .wire import ProblemError

__all__ = ["Client", "ProblemError", "SlateResponse"]
