"""The one kind of error that is shown to users as a sentence instead of a traceback."""


class UsageError(ValueError):
    """A request that cannot be met: the message names the file or key, the value and the remedy."""


class StorageError(UsageError):
    """A file could not be written; what was written before is whole."""


class BusyError(UsageError):
    """Another process is working on this run: wait for it, or leave it alone."""


class TrainingError(ArithmeticError):
    """Training broke down (NaN or infinite losses); the last good checkpoint is kept."""
