"""What a reader of items fails with: where, and what is wrong there."""

from __future__ import annotations

from cdk_distributed_map.local.errors import ITEM_READER, StateError


class ReaderError(StateError):
    """``States.ItemReaderFailed``.

    Args:
        cause: What is wrong: one line, without content of the file.
        recorded: Whether AWS was recorded to say just this.
    """

    def __init__(self, cause: str, *, recorded: bool = False) -> None:
        super().__init__(ITEM_READER, cause)
        self._recorded = recorded
        self._located = False

    def at(self, where: str, *, only: bool) -> ReaderError:
        """Return the error with the place in its cause.

        Args:
            where: The ``s3://`` address.
            only: Whether the state reads no other file: what AWS says of it stays as it is then.
        """
        if self._located or (self._recorded and only):
            return self
        cause = f"{self.cause} ({where})" if self._recorded else f"{where} can't be read: {self.cause}"
        located = ReaderError(cause)
        located._located = True
        return located


def failed(cause: str, *, recorded: bool = False) -> ReaderError:
    """Return ``States.ItemReaderFailed``; see :class:`ReaderError`."""
    return ReaderError(cause, recorded=recorded)
