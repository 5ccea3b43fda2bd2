"""Bundling: how the packages that a function's folder asks for come into its code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import DockerImage

from cdk_distributed_map.settings import kinds

_INSTALLERS = ("pip", "uv")


class Bundling:
    """How the packages that a folder asks for come into the function's code: use the factories.

    A ``requirements.txt``, ``pyproject.toml``, ``uv.lock``, ``poetry.lock``, ``pylock.toml``, ``Pipfile`` or
    ``Pipfile.lock`` at the top of the folder, or beside the handler in it, asks for packages; for a member of a
    workspace of uv the lock of the workspace counts.

    .. versionadded:: 0.1.0
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @staticmethod
    @kinds.checked
    def wheels(
        *,
        requirements: str | None = None,
        installer: str | None = None,
        exclude: Sequence[str] | None = None,
    ) -> Bundling:
        """Wheels for the function's own Python, architecture and glibc, by pip or uv, without Docker: the default.

        They are fetched once and kept in the user's cache folder (``DISTMAP_CACHE``, else ``~/.cache/distmap``). Where
        wheels come from is said as ever, by the configuration of pip or uv.

        Args:
            requirements: File that says which packages, by its path from the folder. Default: the one of the kinds
                above that is there.
            installer: ``pip`` or ``uv``. Default: uv for a ``uv.lock``, else pip where this environment has it,
                or uv.
            exclude: Files and folders of the packages that aren't needed, such as ``"tests/"``, ``"*.pyi"`` or
                ``"/numpy/doc"``, in the grammar of Python's ``PurePath.match``: ``*`` is for one part of a path, and a
                slash first for the top. ``*.dist-info`` always stays. Default: none.

        Raises:
            ValueError: The installer isn't one of the two.
        """
        if installer is not None and installer not in _INSTALLERS:
            raise ValueError(
                f"installer must be 'pip' or 'uv', got {installer!r}: leave it out for the one that is there"
            )
        return Wheels(
            requirements=requirements,
            installer=installer,
            exclude=() if exclude is None else tuple(exclude),
            asked=True,
        )

    @staticmethod
    @kinds.checked
    def docker(*, image: DockerImage | None = None, command: Sequence[str] | None = None) -> Bundling:
        """In a container, for packages that have no wheel and must be built.

        The CDK runs it whenever the folder changes, and again where its output folder is new.

        Args:
            image: Default: AWS's build image of the function's runtime.
            command: What is run in ``/asset-input``, a copy of the folder, and writes all of the code to
                ``/asset-output``. Default: pip with the folder's ``requirements.txt``, and a copy of the folder.

        Raises:
            ValueError: The command is empty.
        """
        if command is not None and not command:
            raise ValueError("command must have at least one word: leave it out for pip with requirements.txt")
        return InDocker(image=image, words=None if command is None else tuple(command))

    @staticmethod
    @kinds.checked
    def command(command: Sequence[str]) -> Bundling:
        """A command of your own, such as ``["make", "bundle"]``, which fills a folder that becomes the whole code.

        It runs in the function's folder at every synthesis, without a shell, and finds in its environment
        ``DISTMAP_OUTPUT``, the empty folder to fill, ``DISTMAP_PYTHON`` (such as ``3.13``) and ``DISTMAP_ARCHITECTURE``
        (``arm64`` or ``x86_64``). What it writes there is hashed, so that only another content is deployed.

        Args:
            command: The program and its arguments.

        Raises:
            ValueError: The command is empty.
        """
        if not command:
            raise ValueError("command must have at least one word, such as ['make', 'bundle']")
        return ByCommand(words=tuple(command))

    @staticmethod
    def none() -> Bundling:
        """Nothing is added to the folder: its packages are in it already, or in a layer."""
        return NoBundling()


@dataclass(frozen=True, kw_only=True)
class Wheels(Bundling):
    """Wheels, by pip or uv."""

    requirements: str | None = None
    installer: str | None = None
    exclude: tuple[str, ...] = ()
    asked: bool = False
    """Whether the user asked for it, so that there must be something to bundle."""


@dataclass(frozen=True, kw_only=True)
class InDocker(Bundling):
    """In a container."""

    image: DockerImage | None
    words: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class ByCommand(Bundling):
    """By the user's own command."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class NoBundling(Bundling):
    """Not at all."""
