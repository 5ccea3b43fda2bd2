"""What can go wrong while packages are bundled."""

from __future__ import annotations

from distmap import pages


class BundlingError(ValueError):
    """The packages of a function can't be bundled: the message says why, and the ways out."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"see {pages.address(type(self).__name__)}")
