"""What every section of the settings shares: no unknown names, no changes, and the names that people choose."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Section(pydantic.BaseModel):
    """A table of voltd.toml: a key that is none of its own is refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, validate_default=True)
