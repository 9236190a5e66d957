"""The errors that azubi raises on purpose, as one tree.

    AzubiError                   everything below; carries a cause and a remedy
    ├── UsageError               exit code 2: the request or its input cannot be used
    │   ├── SettingError         a setting is unknown, out of range, or contradicts another
    │   ├── DataError            the examples cannot be read or cannot be learned from
    │   │   └── ContextTooLong   a question is longer than the base reads
    │   ├── BaseModelError       the base is missing, damaged, unsafe or of an unknown kind
    │   ├── UnknownSpecialist    no specialist of that name (and version)
    │   └── UnknownData          no data version of that name, or no row of that id
    └── RunError                 exit code 1: the request was sound, carrying it out failed
        ├── StorageError         the disk is full, read-only, or lost what was written
        │   └── DiskFull         there is no room left on it
        ├── TrainingError        the loss is not finite, or nothing could be learned
        ├── PromotionRefused     a rule of the gate does not hold
        ├── MemoryShortage       the machine's memory, or what the run may have of it, is used up
        ├── ExportError          an export cannot be written, or does not run where it is meant to
        ├── ServiceBusy          as many questions wait as may wait, or the service is being stopped
        ├── AnswerFailed         a model failed while it answered a question
        └── CorruptFile          a stored file does not hold what its checksum says

Knows nothing of the terminal: `azubi.cli` decides how an error looks.
"""


class AzubiError(Exception):
    """One sentence that names the value and the cause, and one that names the remedy."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class UsageError(AzubiError):
    """The request or its input cannot be used as it stands."""

    exit_code = 2


class SettingError(UsageError):
    """A setting is unknown, out of range, or contradicts another."""


class DataError(UsageError):
    """The examples cannot be read, or cannot be learned from."""


class ContextTooLong(DataError):
    """A question takes more tokens, with its answer, than the base reads."""


class BaseModelError(UsageError):
    """The base is missing, damaged, unsafe to load, or of a kind that cannot be cut."""


class UnknownSpecialist(UsageError):
    """No specialist of that name (and version) lies in this home."""


class UnknownData(UsageError):
    """No data version of that name, or no row of that id, lies in this home."""


class RunError(AzubiError):
    """The request was sound; carrying it out failed."""


class StorageError(RunError):
    """The disk is full, read-only, or did not keep what was written."""


class DiskFull(StorageError):
    """There is no room left on the disk."""


class TrainingError(RunError):
    """The loss is not finite, or training could not go on."""


class ExportError(RunError):
    """An export cannot be written, or does not run in the program that it is meant for."""


class ServiceBusy(RunError):
    """As many questions wait for an answer as may wait, or the service is being stopped."""


class AnswerFailed(RunError):
    """A model failed while it answered a question; other questions are not affected."""


class PromotionRefused(RunError):
    """A rule that the recipe sets for going into production does not hold."""


class CorruptFile(RunError):
    """A stored file does not hold what its checksum says."""


class MemoryShortage(RunError):
    """The machine's memory, or what this process may have of it, is used up."""


_SHORT = (
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "not enough memory",
    "out of memory",
)


def tells_of_memory(error: BaseException) -> bool:
    """Whether an error, of Python or of a library that has words alone, means that memory is used up."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, Exception) and any(words in text for words in _SHORT)
    )
