"""Where things are in the repository, for tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
DOCS = ROOT / "docs"
SOURCE = ROOT / "app"
"""What PYTHONPATH needs for `import rerankd` to find this checkout."""


def files_in(folder: Path, *patterns: str) -> list[Path]:
    """Return the files that each pattern matches, sorted.

    A pattern that matches nothing fails: a test over no files would pass and check nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
        assert matches, f"nothing matches {folder / pattern}"
        found += matches
    return found


def handbook() -> list[Path]:
    """Return README.md and every page of docs/."""
    return files_in(ROOT, "README.md", "docs/**/*.md")
