"""The base of every section: unknown keys are errors, values do not change; and the type of names."""

from __future__ import annotations

from typing import Annotated

import pydantic

from voltd import wording

Name = Annotated[
    str,
    wording.matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
    ),
]


class Section(pydantic.BaseModel):
    """A table of voltd.toml; an unknown key is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, validate_default=True)
