"""All benchmarks, one after the other."""

from __future__ import annotations

from benchmarks import folding, passing, polling, recording, serving, stores, wsgi


def main() -> None:
    for script in (folding, recording, passing, polling, serving, wsgi, stores):
        script.main()


if __name__ == "__main__":
    main()
