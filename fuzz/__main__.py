"""`python -m fuzz TARGET`: fuzz one target, or `all` of them in turn.

Exit code 0 when nothing was found. A finding is printed with its traceback and kept in the current folder as `crash-…`; it is
to become a regression test.
"""

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["events"]):
    import django

    from wsproject.env import use_settings

    use_settings("wsproject.settings")
    django.setup()
    from fuzz.targets import TARGETS, Target

import structlog

#: One input may take so long, and the process so much memory; more is a finding.
SLOW_S = 10
MEMORY_MB = 2_048


def arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m fuzz", description="Coverage-guided fuzzing of what strangers can send.")
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="stop after so long (default 60)")
    parser.add_argument("--runs", type=int, default=-1, help="… or after so many inputs")
    parser.add_argument("--seed", type=int, default=0, help="the same number tries the same inputs; 0 picks one (default)")
    return parser.parse_args()


def all_targets() -> Target:
    """One target for all: the first byte says which."""
    targets = list(TARGETS.values())
    seeds = tuple(bytes([number]) + seed for number, target in enumerate(targets) for seed in target.seeds)
    words = tuple(word for target in targets for word in target.words)
    return Target(lambda data: targets[(data or b"\0")[0] % len(targets)].run(data[1:]), seeds, words)


def fuzz(target: Target, options: Namespace) -> None:
    """Never returns: the fuzzer ends the process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        bounds = [
            f"-max_total_time={options.seconds}",
            f"-runs={options.runs}",
            f"-timeout={SLOW_S}",
            f"-rss_limit_mb={MEMORY_MB}",
        ]
        inputs = [f"-seed={options.seed}", f"-dict={words}", "-max_len=4096", "-print_final_stats=1", str(corpus)]
        atheris.Setup([sys.argv[0], *bounds, *inputs], target.run)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    # Millions of log lines say nothing.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    chosen = arguments()
    fuzz(all_targets() if chosen.target == "all" else TARGETS[chosen.target], chosen)
