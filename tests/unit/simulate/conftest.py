"""What several tests of recordings need."""

import pytest


@pytest.fixture
def write(tmp_path):
    """A function: writes a recording, and returns its path."""

    def write_file(content, name="recording"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
