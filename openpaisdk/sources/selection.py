# SPDX-License-Identifier: MIT
"""Which files are a job's sources, and under which names they stand in the job.

- A source below the submitter's folder keeps its path relative to it; one outside (``../common``,
  ``/data/set``) stands in the job under its last name, as ``cp -r`` would put it.
- A source that is named is sent even if an ignore file excludes it; what is in it is still looked at.
- A source that is itself a link is followed. Links inside sources stay links; they must lead to something
  that is sent too.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openpaisdk.constants import RUNTIME_FOLDER
from openpaisdk.errors import SourceError
from openpaisdk.sources.archive import Archive, Entry, pack
from openpaisdk.sources.ignore import Ignores, skip_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REQUIREMENTS = "requirements.txt"
_LARGEST = 10


@dataclass(frozen=True)
class Root:
    """A source as it was given, where it is, and what it is called in the job (``""``: the folder itself)."""

    given: str
    path: str
    name: str


@dataclass(frozen=True)
class Selection:
    """The chosen files, sorted by their name in the job."""

    entries: tuple[Entry, ...]
    requirements: list[str] = field(default_factory=list)
    """Names of the requirement files whose packages are installed before the commands run."""

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes, before they are packed."""
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def files(self) -> list[tuple[str, int]]:
        """Name and size of each file and link."""
        return [(entry.name, entry.size_bytes) for entry in self.entries if entry.kind != "folder"]

    def preview(self) -> dict[str, Any]:
        """Return what would be sent: how many files, how much, and the ten largest."""
        largest = sorted(self.files, key=lambda file: (-file[1], file[0]))[:_LARGEST]
        return {
            "files": len(self.files),
            "size_bytes": self.size_bytes,
            "largest": [{"name": name, "size_bytes": size} for name, size in largest],
        }

    def pack(self, first: Sequence[Entry] = ()) -> Archive:
        """Pack the files, after ``first``, into a temporary archive; use it in a ``with`` statement.

        Raises:
            SourceError: A file cannot be read, or changes while it is read.
        """
        return pack([*first, *self.entries])


def select(paths: Sequence[str], *, folder: str | None = None) -> Selection:
    """Choose what is sent for the sources ``paths``, relative to ``folder`` (the current one).

    Raises:
        SourceError: A source is missing, is neither file nor folder, or leads out; or two have one name.
    """
    top = os.path.realpath(folder or os.getcwd())
    roots = [_root(given, top) for given in paths]
    chosen: dict[str, Entry] = {}
    for root in roots:
        for entry in _walk(root, roots, top):
            known = chosen.setdefault(entry.name, entry)
            if known.path != entry.path:
                raise SourceError(
                    f"two sources would be {entry.name!r} in the job: {known.path!r} and {entry.path!r}",
                    hint="rename one of them, or submit from the folder that holds both",
                )
    _refuse_files_as_folders(chosen)
    _refuse_own_folder(chosen)
    ordered = tuple(chosen[name] for name in sorted(chosen, key=os.fsencode))
    return Selection(ordered, _requirements(roots, chosen))


def choose_named(
    folder: str, named: Sequence[str], *, given: Sequence[str] = ()
) -> tuple[list[str], list[tuple[str, str]]]:
    """Choose from files that a command names (relative to ``folder``) those to be sent.

    Returns:
        The files to send, and for each other one its name and why it is left out. Files that are among the
        sources ``given`` are in neither list.
    """
    top = os.path.realpath(folder)
    covered = [os.path.relpath(os.path.join(top, path), top).replace(os.sep, "/") for path in given]
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for name in named:
        if any(source in (".", name) or name.startswith(f"{source}/") for source in covered):
            continue
        reason = _left_out(top, name)
        if reason is None:
            chosen.append(name)
        else:
            left_out.append((name, reason))
    return chosen, left_out


def _left_out(top: str, name: str) -> str | None:
    real = os.path.realpath(os.path.join(top, name))
    if real != os.path.join(top, *name.split("/")):
        return f"it is a link to {real!r}" if _below(real, top) is None else None
    ignores, base = _ignores_at(top, top)
    path = top
    parts = name.split("/")
    for position, part in enumerate(parts):
        path = os.path.join(path, part)
        base = f"{base}/{part}" if base else part
        is_folder = position < len(parts) - 1
        reason = skip_reason(path) if is_folder else None
        reason = reason or ignores.reason(base, is_folder=is_folder)
        if reason is not None:
            return reason
        if is_folder:
            ignores = ignores.enter(path, base)
    return None


def _root(given: str, top: str) -> Root:
    path = os.path.normpath(os.path.join(top, os.path.expanduser(given)))
    if not os.path.exists(path):
        what = "is a link to nothing" if os.path.islink(path) else "does not exist"
        raise SourceError(f"source {given!r} {what} (looked for {path!r})")
    # a path may reach the folder through links of its parents
    near = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    name = _below(path, top)
    if name is None:
        name = _below(near, top)
    if name is None:
        name = os.path.basename(os.path.realpath(path))
        if not name:
            raise SourceError(
                f"source {given!r} is the root folder", hint="name the folders in it that are needed"
            )
    return Root(given, os.path.realpath(path), name)


def _below(path: str, folder: str) -> str | None:
    """Return ``path`` relative to ``folder`` (``""``: the same), or ``None`` when it is not below."""
    if path == folder:
        return ""
    prefix = folder if folder.endswith(os.sep) else folder + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None


def _ignores_at(folder: str, top: str) -> tuple[Ignores, str]:
    """Return the rules in force in ``folder`` and its path relative to where they begin.

    They begin at the root of the git repository, else at the submitter's folder, else at the folder itself.
    """
    start = folder
    probe = folder
    while True:
        if os.path.lexists(os.path.join(probe, ".git")):
            start = probe
            break
        parent = os.path.dirname(probe)
        if parent == probe:
            start = top if _below(folder, top) is not None else folder
            break
        probe = parent
    ignores = Ignores().enter(start, "").add_excludes(os.path.join(start, ".git", "info", "exclude"))
    path, base = start, ""
    for part in (_below(folder, start) or "").split("/"):
        if part:
            path = os.path.join(path, part)
            base = f"{base}/{part}" if base else part
            ignores = ignores.enter(path, base)
    return ignores, base


def _walk(root: Root, roots: Sequence[Root], top: str) -> Iterator[Entry]:
    """Give the entries of one source."""
    about = os.stat(root.path)
    if stat.S_ISREG(about.st_mode):
        yield Entry(root.name, "file", root.path, about.st_size)
        return
    if not stat.S_ISDIR(about.st_mode):
        raise _special(root.given, about.st_mode)
    ignores, base = _ignores_at(root.path, top)
    if root.name:
        yield Entry(root.name, "folder", root.path)
    walker = _Walker(roots)
    found = False
    for entry in walker.walk(root.path, root.name, base, ignores):
        found = True
        yield entry
    if walker.left_out and not found:
        raise SourceError(
            f"source {root.given!r} holds nothing that is not ignored ({walker.left_out[0]})",
            hint="a line such as '!data/**' in .openpaiignore takes files back",
        )


class _Walker:
    """Gives what is in folders; ``left_out`` collects why things were not given."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = roots
        self.left_out: list[str] = []

    def walk(self, folder: str, name: str, base: str, ignores: Ignores) -> Iterator[Entry]:
        """Give what is in ``folder``, which is ``name`` in the job and ``base`` for the ignore rules."""
        for item in _scan(folder):
            stored = f"{name}/{item.name}" if name else item.name
            ruled = f"{base}/{item.name}" if base else item.name
            is_folder = item.is_dir(follow_symlinks=False)
            reason = skip_reason(item.path) if is_folder else None
            reason = reason or ignores.reason(ruled, is_folder=is_folder)
            if reason is not None:
                self.left_out.append(reason)
            elif is_folder:
                yield Entry(stored, "folder", item.path)
                yield from self.walk(item.path, stored, ruled, ignores.enter(item.path, ruled))
            elif item.is_symlink():
                yield Entry(stored, "link", item.path, target=_link_target(item.path, stored, self._roots))
            else:
                about = item.stat(follow_symlinks=False)
                if not stat.S_ISREG(about.st_mode):
                    raise _special(stored, about.st_mode)
                yield Entry(stored, "file", item.path, about.st_size)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda item: item.name)
    except OSError as exc:
        raise SourceError(f"cannot read source {folder!r}: {(exc.strerror or str(exc)).lower()}") from exc


def _link_target(path: str, stored: str, roots: Sequence[Root]) -> str:
    """Return what the link says in the job: a relative path that stays among the sources."""
    target = os.readlink(path)
    final = _stored_name(os.path.realpath(path), roots)
    if final is None:
        raise SourceError(
            f"source {stored!r} is a link to {target!r}, which is not among the sources",
            hint="send the target too, replace the link by a copy, or list it in .openpaiignore",
        )
    # a relative link is kept as it is where its words alone lead to the right place
    direct = _stored_name(os.path.normpath(os.path.join(os.path.dirname(path), target)), roots)
    here = os.path.dirname(stored)
    if not os.path.isabs(target) and direct == os.path.normpath(os.path.join(here, target)).replace(
        os.sep, "/"
    ):
        return target.replace(os.sep, "/")
    return os.path.relpath(final or ".", here or ".").replace(os.sep, "/")


def _stored_name(path: str, roots: Sequence[Root]) -> str | None:
    for root in roots:
        below = _below(path, root.path)
        if below is not None:
            return "/".join(part for part in (root.name, below) if part) or "."
    return None


def _special(name: str, mode: int) -> SourceError:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    what = kinds.get(stat.S_IFMT(mode), "a special file")
    return SourceError(
        f"source {name!r} is {what}; only files, folders and links can be sent",
        hint="list it in .openpaiignore to leave it out",
    )


def _refuse_files_as_folders(chosen: dict[str, Entry]) -> None:
    for name, entry in chosen.items():
        parent = name.rpartition("/")[0]
        while parent:
            above = chosen.get(parent)
            if above is not None and above.kind != "folder":
                raise SourceError(
                    f"source {entry.path!r} would be below {parent!r}, which is no folder in the job"
                )
            parent = parent.rpartition("/")[0]


def _refuse_own_folder(chosen: dict[str, Entry]) -> None:
    for name, entry in chosen.items():
        if name.split("/", 1)[0] == RUNTIME_FOLDER:
            raise SourceError(
                f"source {entry.path!r} would be {name!r} in the job, which is kept for the SDK",
                hint="rename it, or send the folder that holds it",
            )


def _requirements(roots: Sequence[Root], chosen: dict[str, Entry]) -> list[str]:
    """Return the requirement files at the top of the working folder and of each given source folder."""
    names = [REQUIREMENTS, *(f"{root.name}/{REQUIREMENTS}" for root in roots if root.name)]
    return [name for name in dict.fromkeys(names) if name in chosen and chosen[name].kind == "file"]
