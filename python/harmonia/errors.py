"""Everything that may go wrong for reasons outside this program, as one tree.

A message is one line: what was given, what is allowed, what to do. ``exit_code`` is what a command ends with,
``reason`` what a remote caller may branch on; both are promises, listed here and nowhere else.
"""

from typing import ClassVar


class HarmoniaError(Exception):
    """The root. Never raised itself."""

    exit_code: ClassVar[int] = 1
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.metadata = metadata
        """Facts for a program that reads the error: ids, limits, positions."""


class BadInput(HarmoniaError):
    """What was given cannot be used."""

    exit_code = 2
    reason = "BAD_INPUT"


class BadScore(BadInput):
    """A score that cannot be played as written. The message is ``FILE:LINE: reason``."""

    reason = "BAD_SCORE"


class NotNow(BadInput):
    """A good request that the present state does not allow."""

    reason = "NOT_NOW"


class StaleGrant(NotNow):
    """A grant that does not name the newest withdrawal of its purpose."""

    reason = "STALE_GRANT"


class CircleFull(NotNow):
    """As many sleepers as the circle has room for are in it."""

    reason = "CIRCLE_FULL"


class WrongExpectedRevision(NotNow):
    """A stream of the journal is not where its writer believed; nothing was written. Read on and decide again."""

    reason = "WRONG_EXPECTED_REVISION"


class NotFound(HarmoniaError):
    """There is no such circle, file or folder."""

    exit_code = 3
    reason = "NOT_FOUND"


class NotPermitted(HarmoniaError):
    """Who asks may not do this."""

    exit_code = 4
    reason = "NOT_PERMITTED"


class NotAuthenticated(NotPermitted):
    """Nobody can tell who asks: a token or credential is missing, unknown, expired or wrongly signed."""

    reason = "NOT_AUTHENTICATED"


class TokenUnknown(NotPermitted):
    """A join token that is missing or that this circle never made."""

    reason = "TOKEN_UNKNOWN"


class TokenUsed(NotPermitted):
    """A join token that somebody has redeemed."""

    reason = "TOKEN_USED"


class TokenExpired(NotPermitted):
    """A join token that nobody redeemed in time."""

    reason = "TOKEN_EXPIRED"


class CredentialEnded(NotPermitted):
    """A credential whose circle has closed or whose sleeper has left; it can still withdraw consent."""

    reason = "CREDENTIAL_ENDED"


class Unreachable(HarmoniaError):
    """The other side does not answer, or is not who it should be."""

    exit_code = 5
    reason = "UNREACHABLE"


class NotSynchronised(HarmoniaError):
    """A clock was not within the wanted bound in time."""

    exit_code = 9
    reason = "NOT_SYNCHRONISED"


class StorageError(HarmoniaError):
    """The journal or the data folder could not be read or written."""

    exit_code = 6
    reason = "STORAGE"


class StorageUnreadable(StorageError):
    """What is stored was written by a newer version, or damaged."""

    reason = "STORAGE_UNREADABLE"


class StorageUnavailable(StorageError):
    """Nothing was written. The message says what to do."""

    reason = "STORAGE_UNAVAILABLE"


class StorageOutcomeUnknown(StorageError):
    """Perhaps it was written. Repeat it with the same event id."""

    reason = "STORAGE_OUTCOME_UNKNOWN"


class MutedNotRecorded(StorageError):
    """A withdrawal that is in force but not yet on disk. Repeat it."""

    reason = "MUTED_NOT_RECORDED"


class Forgotten(StorageError):
    """A sleeper who was forgotten: nothing can be written of them any more."""

    reason = "FORGOTTEN"


class AddressTaken(HarmoniaError):
    """Somebody else listens there already."""

    exit_code = 7
    reason = "ADDRESS_TAKEN"


class FolderInUse(AddressTaken):
    """Another sanctuary runs in this data folder."""

    reason = "FOLDER_IN_USE"
