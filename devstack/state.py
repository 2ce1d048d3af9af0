"""What the stack remembers between two runs, and the file that tells other programs where it is."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Merchant:
    """A seeded merchant with its API key, which the database holds only hashed."""

    id: str
    name: str
    key: str


@dataclass(slots=True)
class State:
    """The secrets of one stack directory; readable by its owner only."""

    path: Path
    derivation_key: str = field(default_factory=lambda: secrets.token_hex(32))
    acquirer_key: str = field(default_factory=lambda: secrets.token_hex(32))
    merchants: tuple[Merchant, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "State":
        """What an earlier run saved, else new secrets."""
        if not path.exists():
            return cls(path)
        saved = json.loads(path.read_text())
        state = cls(
            path,
            saved["derivation_key"],
            merchants=tuple(Merchant(**merchant) for merchant in saved["merchants"]),
        )
        state.acquirer_key = saved.get("acquirer_key", state.acquirer_key)  # earlier stacks had one for all
        return state

    def save(self) -> None:
        """The file holds this state."""
        merchants = [{"id": one.id, "name": one.name, "key": one.key} for one in self.merchants]
        keys = {"derivation_key": self.derivation_key, "acquirer_key": self.acquirer_key}
        write_json(self.path, {**keys, "merchants": merchants})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """The file holds the whole content, for its owner only; a reader never sees half of it."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
