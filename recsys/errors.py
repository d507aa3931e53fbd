"""The errors a person is meant to read.

Each message names the thing, the count, an example and the remedy, on one line. The command line prints it and
leaves with exit code 2; the service answers it as JSON. Any other exception is a defect and keeps its traceback.
"""

from typing import Final

HELD_BACK: Final = 3
"""Exit code of a nightly run whose data or candidate release did not pass: nothing is broken, and the served
release stays."""


class RecsysError(Exception):
    """Root of the tree: something the user can mend."""


class ConfigError(RecsysError):
    """A setting is unknown, has the wrong type, or is out of range."""


class DataError(RecsysError):
    """A file or table that was handed in cannot be used as it is."""


class EncoderError(RecsysError):
    """The text encoder is missing, altered, or does not fit the stored vectors."""


class TrainingError(RecsysError):
    """A model cannot be trained with these settings, or its loss is not finite."""


class StoreError(RecsysError):
    """The workspace's store or a release in it is missing, damaged, or held by another run."""


class ResourceError(RecsysError):
    """This machine has too little disk or memory, or does not let a run write."""


class ClusterError(RecsysError):
    """A machine of the cluster was lost again and again, or is not as the others are."""


class GateError(RecsysError):
    """The data or the candidate release of a nightly run did not pass the checks or the gate; the served release
    stays."""


class ApiKeyError(RecsysError):
    """The file of API keys is damaged, or a key cannot be made or ended as it was asked."""


class QueryError(RecsysError):
    """A request for recommendations that cannot be answered as it was put."""


class UnknownItemError(QueryError):
    """It is about an item that the release does not know."""


class ErasureError(RecsysError):
    """A shopper cannot be erased as it was asked, something of them is left, or a receipt does not hold."""


class ServeError(RecsysError):
    """The service cannot start or be reached."""
