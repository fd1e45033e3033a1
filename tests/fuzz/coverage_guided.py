"""Coverage-guided fuzzing of the decoder with atheris: ``python tests/fuzz/coverage_guided.py -max_total_time=300``.

libFuzzer keeps the inputs that reach new branches of ``voltd.pipeline.decode`` and what it calls, beginning with
messages of ``inputs``. Ends with libFuzzer's exit code and the input at the first broken promise. atheris is not
among the dev dependencies (130 MB, few platforms): pip install atheris. Arguments are libFuzzer's.
"""

import datetime as dt
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # tests/

try:
    import atheris
except ImportError as problem:
    print(f"skipped: {problem}; pip install atheris")  # noqa: T201 a script that reports
    sys.exit(0)

with atheris.instrument_imports(include=["voltd.pipeline", "voltd.models"]):
    from fuzz import inputs, one_fate
    from voltd import config
    from voltd.pipeline.decode import decoder

_NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
_TOPICS = (b"volt/vehicle/V1/telemetry", b"volt/meter/M1/telemetry", b"volt/ingest", b"volt/vehicle/V1/more")
_SEEDS = 2000
_SEED_BYTES = 4096

_decoder = decoder.Decoder(config.Topics(), config.Limits(), 90)


def one_input(data):
    """The first byte picks the topic, the rest is the payload."""
    source = inputs.Input("atheris", _TOPICS[data[0] % len(_TOPICS)] if data else b"", data[1:])
    batch = _decoder.decode([one_fate.message_of(source, 1, _NOW)])
    one_fate.check_fates([source], batch)


def main():
    with tempfile.TemporaryDirectory(prefix="voltd-corpus-") as corpus:
        for number, source in enumerate(inputs.Generator("corpus", _NOW).messages(_SEEDS)):
            topic = next((at for at, one in enumerate(_TOPICS) if source.topic[:8] == one[:8]), 0)
            if len(source.payload) < _SEED_BYTES:
                pathlib.Path(corpus, str(number)).write_bytes(bytes([topic]) + source.payload)
        atheris.Setup([*sys.argv, f"-max_len={_SEED_BYTES}", "-timeout=10", corpus], one_input)
        atheris.Fuzz()  # leaves through libFuzzer's exit


if __name__ == "__main__":
    main()
