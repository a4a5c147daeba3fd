"""What one process holds in its slot, by name and in bytes, and which of it is being sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vision_event_block.outbox.slot import Entry


class Stock:
    """The entries of a slot as their owner knows them. Not thread-safe: the outbox has a lock."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._claimed: set[str] = set()
        #: What they take, and what is being written just now.
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    @property
    def names(self) -> list[str]:
        """Oldest first."""
        return sorted(self._entries)

    def put(self, entry: Entry) -> None:
        """Takes an entry in, or one that became smaller; its bytes count."""
        known = self._entries.get(entry.name)
        self.size_bytes += entry.size_bytes - (known.size_bytes if known else 0)
        self._entries[entry.name] = entry

    def put_reserved(self, entry: Entry) -> None:
        """Takes an entry in whose bytes are counted already."""
        self._entries[entry.name] = entry

    def forget(self, name: str) -> None:
        """The entry is here no more."""
        entry = self._entries.pop(name, None)
        self._claimed.discard(name)
        if entry is not None:
            self.size_bytes -= entry.size_bytes

    def claim(self, name: str) -> bool:
        """Marks an entry as being sent; False if it is already, or is not here any more."""
        if name not in self._entries or name in self._claimed:
            return False
        self._claimed.add(name)
        return True

    def unclaim(self, name: str) -> None:
        """Ends a claim."""
        self._claimed.discard(name)

    def is_claimed(self, name: str) -> bool:
        """Whether it is being sent, and shall be left as it is."""
        return name in self._claimed
