"""A disk in memory that forgets, in a power cut, what nobody asked it to keep.

Bytes last when their file was synced, names when their folder was. Of the rest a power cut keeps
some and loses some, as a real disk does that happens to write back in between. A rename from one
folder to another is taken for one step, as journals of file systems make it: the old name does
not go before the new one is there, unless the old folder alone was synced.
"""

from __future__ import annotations

import errno
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from vision_event_block.outbox.disk import Disk


class Killed(BaseException):
    """The process ends here, in the middle of whatever it was doing."""


@dataclass(eq=False)
class File:
    """A file, as programs see it and as it is on the medium."""

    content: bytes = b""
    kept: bytes = b""
    is_locked: bool = False

    def cut_power(self, random):
        if self.content.startswith(self.kept):
            self.content = self.content[: random.randint(len(self.kept), len(self.content))]
        elif random.random() < 0.5:
            self.content = self.kept
        self.kept = self.content
        self.is_locked = False


@dataclass(eq=False)
class Folder:
    """A folder, as programs see it and as it is on the medium."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    kept: dict[str, File | Folder] = field(default_factory=dict)
    #: What left for another folder since the last sync: the node by its old name.
    left: list[tuple[str, File | Folder, Folder, str]] = field(default_factory=list)

    def cut_power(self, random):
        changed = [n for n in {**self.kept, **self.names} if self.kept.get(n) != self.names.get(n)]
        for name in sorted(changed):
            if random.random() < 0.5:
                self.names.pop(name, None)
                if name in self.kept:
                    self.names[name] = self.kept[name]
        for node in list(self.names.values()):
            node.cut_power(random)

    def settle_moves(self):
        for name, node, target, new_name in self.left:
            if target.names.get(new_name) is not node and self.kept.get(name) is node:
                self.names[name] = node
        self.left.clear()
        self.kept = dict(self.names)
        for node in self.names.values():
            if isinstance(node, Folder):
                node.settle_moves()


class Medium:
    """What all processes of a machine share."""

    def __init__(self, home="/data"):
        self.root = Folder()
        self.root.names[home.strip("/")] = Folder()
        self.root.kept = dict(self.root.names)
        self.free_bytes = 2**40

    def cut_power(self, random):
        """Everything is as after the next start of the machine."""
        self.root.cut_power(random)
        self.root.settle_moves()

    def folder(self, path):
        node = self.root
        for part in str(path).split("/")[1:]:
            node = node.names.get(part) if isinstance(node, Folder) else None
        if not isinstance(node, Folder):
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path))
        return node

    def file(self, path):
        node = self.folder(path.parent).names.get(path.name)
        if not isinstance(node, File):
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return node


class ModelDisk(Disk):
    """The disk of one process. `steps_left` counts down to the change in which it is killed."""

    def __init__(self, medium):
        self.medium = medium
        self.steps_left = None
        self._locks = {}
        self._numbers = itertools.count(3)

    def die(self):
        """The kernel lets go of the locks; the page cache stays."""
        for lock in list(self._locks):
            self.unlock(lock)

    def make_folder(self, folder):
        self._step()
        names = self.medium.folder(folder.parent).names
        if folder.name in names:
            return False
        names[folder.name] = Folder()
        return True

    def is_folder(self, path):
        return isinstance(self.medium.folder(path.parent).names.get(path.name), Folder)

    def write(self, path, chunks, *, sync):
        self._step()
        file = self.medium.folder(path.parent).names.setdefault(path.name, File())
        content = b"".join(chunks)
        file.content = content[: len(content) // 2]
        self._step()
        file.content = content
        if sync:
            self.sync_file(file)

    def sync_file(self, file):
        self._step()
        file.kept = file.content

    def append(self, path, content):
        self._step()
        self.medium.folder(path.parent).names.setdefault(path.name, File()).content += content

    def read(self, path):
        return self.medium.file(path).content

    def read_head(self, path, length_bytes):
        return self.read(path)[:length_bytes]

    def rename(self, source, target):
        self._step()
        node = self.medium.file(source)
        old, new = self.medium.folder(source.parent), self.medium.folder(target.parent)
        del old.names[source.name]
        new.names[target.name] = node
        if old is not new:
            old.left.append((source.name, node, new, target.name))

    def remove(self, path):
        self._step()
        self.medium.file(path)
        del self.medium.folder(path.parent).names[path.name]

    def remove_folder(self, folder):
        self._step()
        if self.medium.folder(folder).names:
            raise OSError(errno.ENOTEMPTY, "not empty", str(folder))
        del self.medium.folder(folder.parent).names[folder.name]

    def sync_folder(self, folder):
        self._step()
        node = self.medium.folder(folder)
        node.kept = dict(node.names)
        node.left.clear()

    def names(self, folder):
        try:
            return list(self.medium.folder(folder).names)
        except FileNotFoundError:
            return []

    def size_bytes(self, path):
        return len(self.read(path))

    def free_bytes(self, folder):
        return self.medium.free_bytes

    def lock(self, path):
        self._step()
        file = self.medium.folder(path.parent).names.setdefault(path.name, File())
        if file.is_locked:
            return None
        file.is_locked = True
        number = next(self._numbers)
        self._locks[number] = file
        return number

    def unlock(self, lock):
        self._locks.pop(lock).is_locked = False

    def is_locked(self, path):
        return self.medium.file(path).is_locked

    def is_locked_by(self, lock, path):
        try:
            return self.medium.file(path) is self._locks[lock]
        except FileNotFoundError:
            return False

    def _step(self):
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Killed


class NoDataSync(ModelDisk):
    """Files are never synced."""

    def sync_file(self, file):
        """Does nothing."""


class NoEntryFolderSync(ModelDisk):
    """The folders that hold entries are never synced."""

    def sync_folder(self, folder):
        if folder.parent.name != "slots" and folder.name != "dead":
            super().sync_folder(folder)


class NoParentSync(ModelDisk):
    """The folders that hold folders are never synced."""

    def sync_folder(self, folder):
        if folder.parent.name == "slots" or folder.name == "dead":
            super().sync_folder(folder)


HOME = Path("/data")
