"""The section ``[pseudonyms]``: whether vehicle identification numbers (VIN) leave the network thread as they are."""

from __future__ import annotations

import pathlib
from typing import Annotated, Self

import pydantic

from voltd import wording
from voltd.config import section

KeyId = Annotated[str, wording.matching("[A-Z0-9]", "one capital letter or digit")]


class Pseudonyms(section.Section):
    """With a key file each VIN becomes a pseudonym before anything else sees it."""

    key_file: pathlib.Path | None = None
    key_id: KeyId = "1"
    previous_key_file: pathlib.Path | None = None
    previous_key_id: KeyId | None = None

    @pydantic.model_validator(mode="after")
    def _keys(self) -> Self:
        if bool(self.previous_key_file) != bool(self.previous_key_id):
            raise ValueError("previous_key_file and previous_key_id belong together: set both or neither")
        if self.previous_key_id == self.key_id:
            raise ValueError(f"key_id = {self.key_id!r} is that of the previous key, too: give the new key another one")
        if self.previous_key_file and not self.key_file:
            raise ValueError("previous_key_file is set but key_file is not: name the new key's file")
        return self
