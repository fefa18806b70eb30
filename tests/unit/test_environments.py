"""scripts/environment.sh: what makes an environment, and when it is installed again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT, files_in

CALLS = """\
#!/bin/sh
echo "${{0##*/}} $*" >> {calls}
case "$*" in
*ensurepip*) exit {without_venv} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"venv "*) for folder; do :; done; mkdir -p "$folder/bin" && touch "$folder/bin/python" ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the scripts with a lock, a patch and an installer that only says it was called."""
    for name in ("scripts", "requirements", "app/rerankd/engine/patches"):
        (tmp_path / name).mkdir(parents=True)
    source = ROOT / "scripts/environment.sh"
    (tmp_path / "scripts/environment.sh").write_text(source.read_text())
    (tmp_path / "requirements/dev.txt").write_text("llama-cpp-python==1\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "app/rerankd/engine/patches/one.patch").write_text("+1\n")
    (tmp_path / "app/rerankd/engine/patches/one.cmake").write_text("set(A 1)\n")
    (tmp_path / "app/rerankd/engine/patches/portable.env").write_text('CPU_VARIANTS="one two"\n')
    put(tmp_path / "app/rerankd/engine/patches/install.sh", tmp_path, 0)
    return tmp_path


def put(file: Path, place: Path, without_venv: int) -> None:
    """Write a program that keeps its name and arguments."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CALLS.format(calls=place / "calls", without_venv=without_venv))
    file.chmod(0o755)


def run(place: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/env", "bash", "-c", f". scripts/environment.sh; {code}"],
        cwd=place,
        env={"PATH": f"{place}/bin:/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(place: Path) -> list[str]:
    """Return what was called since the last time."""
    file = place / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_an_environment_is_pythons_own(place: Path) -> None:
    put(place / "bin/mine", place, 0)
    put(place / "bin/uv", place, 0)

    assert run(place, 'create_venv "$PWD/made"', PYTHON="mine").returncode == 0

    assert calls(place)[-1] == f"mine -m venv {place}/made"
    assert run(place, 'create_venv "$PWD/made"', PYTHON="mine").returncode == 0
    assert calls(place) == []


@pytest.mark.parametrize(("interpreter", "asked"), [("mine", "mine"), ("gone", ">=3.11,<3.14")])
def test_uv_makes_it_where_python_or_its_venv_is_missing(
    place: Path, interpreter: str, asked: str
) -> None:
    """As on Debian without python3-venv, and where there is no Python at all."""
    put(place / "bin/mine", place, 1)
    put(place / "bin/uv", place, 0)

    assert run(place, 'create_venv "$PWD/made"', PYTHON=interpreter).returncode == 0

    assert calls(place)[-1] == f"uv venv --quiet --seed --python {asked} {place}/made"


def test_with_neither_it_says_what_to_install(place: Path) -> None:
    done = run(place, 'create_venv "$PWD/made"', PYTHON="gone")

    assert done.returncode == 1
    assert "gone is not Python 3.11 to 3.13 with venv" in done.stderr
    assert "python3-venv" in done.stderr


def test_an_engine_is_compiled_again_when_lock_patch_or_build_change(place: Path) -> None:
    put(place / "made/bin/python", place, 0)
    compiled = f"install.sh {place}/made/bin/python requirements/dev.txt"

    def compiles(build: str = "plain: ") -> bool:
        code = f'install_engine "$PWD/made" requirements/dev.txt "{build}"'
        assert run(place, code, PYTHON="mine").returncode == 0
        return compiled in calls(place)

    assert compiles()
    assert not compiles()
    assert compiles("plain: 1")
    (place / "app/rerankd/engine/patches/one.patch").write_text("+2\n")
    assert compiles("plain: 1")
    (place / "app/rerankd/engine/patches/one.cmake").write_text("set(A 2)\n")
    assert compiles("plain: 1")
    (place / "requirements/dev.txt").write_text("llama-cpp-python==2\n")
    assert compiles("plain: 1")
    assert not compiles("plain: 1")


def test_an_engine_that_fails_to_compile_is_tried_again(place: Path) -> None:
    """No stamp without the whole of it."""
    put(place / "made/bin/python", place, 0)
    installer = place / "app/rerankd/engine/patches/install.sh"
    working = installer.read_text()
    installer.write_text("#!/bin/sh\nexit 1\n")
    code = 'install_engine "$PWD/made" requirements/dev.txt plain'

    assert run(place, code, PYTHON="mine").returncode == 1
    assert not (place / "made/engine.installed").exists()
    installer.write_text(working)
    assert run(place, code, PYTHON="mine").returncode == 0
    assert (place / "made/engine.installed").exists()


def install_engine(place: Path, **variables: str) -> list[str]:
    """Install an engine, which must succeed; return what was called for it."""
    code = 'install_engine "$PWD/made" requirements/dev.txt plain'
    done = run(place, code, **variables)
    assert done.returncode == 0, done.stderr
    return calls(place)


def engine_wheel(place: Path) -> Path:
    """Put a file into dist/ whose name says that it is what would be compiled."""
    version = run(place, "engine_version requirements/dev.txt").stdout.strip()
    machine = os.uname().machine
    file = place / f"dist/llama_cpp_python-{version}-py3-none-manylinux_2_34_{machine}.whl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("engine")
    return file


INSTALL_WHEEL = "python -m pip install --quiet --disable-pip-version-check --no-deps"


def test_an_engine_wheel_in_dist_spares_compiling(place: Path) -> None:
    """It is kept when the file goes, as a compiled engine would be."""
    put(place / "made/bin/python", place, 0)
    file = engine_wheel(place)

    assert install_engine(place) == [f"{INSTALL_WHEEL} --force-reinstall {file.relative_to(place)}"]
    assert install_engine(place) == []
    file.unlink()
    assert install_engine(place) == []


@pytest.mark.parametrize("changed", ["one.patch", "one.cmake", "portable.env", "dev.txt"])
def test_an_engine_wheel_of_other_sources_is_passed_over(place: Path, changed: str) -> None:
    """Its name has a checksum of what it was made from."""
    put(place / "made/bin/python", place, 0)
    engine_wheel(place)
    (source,) = (path for path in files_in(place, "**/*.*") if path.name == changed)
    source.write_text(source.read_text().replace("1", "2").replace("one", "three"))

    (call,) = install_engine(place)

    assert call.startswith("install.sh ")


@pytest.mark.parametrize(
    "variable",
    ["CMAKE_ARGS", "RERANKD_PLAIN_ENGINE", "RERANKD_PICTURES", "RERANKD_CPU_VARIANTS"],
)
def test_who_wants_another_build_gets_it_in_spite_of_a_wheel(place: Path, variable: str) -> None:
    put(place / "made/bin/python", place, 0)
    engine_wheel(place)

    (call,) = install_engine(place, **{variable: "1"})

    assert call.startswith("install.sh ")


def test_a_new_engine_wheel_takes_the_place_of_older_ones(place: Path) -> None:
    """The other architecture's stays if it is of the same sources."""
    folder = place / "dist"
    folder.mkdir()
    for name in ("1+rerankd.2-x_x86_64", "1+rerankd.2-x_aarch64", "1+rerankd.22-x_aarch64"):
        (folder / f"llama_cpp_python-{name}.whl").touch()
    (folder / "rerankd-0.1.0-py3-none-any.whl").touch()

    assert run(place, "delete_engines 1+rerankd.2 x86_64").returncode == 0

    assert [path.name for path in files_in(folder, "*")] == [
        *("llama_cpp_python-1+rerankd.2-x_aarch64.whl", "rerankd-0.1.0-py3-none-any.whl")
    ]


def test_an_engine_wheel_that_does_not_fit_this_system_is_passed_over(place: Path) -> None:
    """An older C library than its tag names, which pip finds out."""
    put(place / "made/bin/python", place, 0)
    python = place / "made/bin/python"
    python.write_text(python.read_text() + "exit 1\n")
    engine_wheel(place)

    tried, compiled = install_engine(place)

    assert tried.startswith(INSTALL_WHEEL)
    assert compiled.startswith("install.sh ")


def test_an_engine_wheel_may_be_named(place: Path) -> None:
    """Also in place of what is compiled; installed once, and again when the file changes."""
    put(place / "made/bin/python", place, 0)
    file = place / "mine.whl"
    file.write_text("1")
    install_engine(place)

    expected = [f"{INSTALL_WHEEL} --force-reinstall {file}"]
    assert install_engine(place, RERANKD_ENGINE_WHEEL=str(file)) == expected
    assert install_engine(place, RERANKD_ENGINE_WHEEL=str(file)) == []
    file.write_text("2")
    assert install_engine(place, RERANKD_ENGINE_WHEEL=str(file)) == expected


def test_an_engine_wheel_that_is_named_must_be_there_and_fit(place: Path) -> None:
    code = 'install_engine "$PWD/made" requirements/dev.txt plain'
    put(place / "made/bin/python", place, 0)
    done = run(place, code, RERANKD_ENGINE_WHEEL="gone.whl")
    assert done.returncode != 0
    assert "RERANKD_ENGINE_WHEEL: there is no file gone.whl" in done.stderr
    python = place / "made/bin/python"
    python.write_text(python.read_text() + "exit 1\n")
    (place / "mine.whl").touch()

    assert run(place, code, RERANKD_ENGINE_WHEEL="mine.whl").returncode != 0

    assert not [call for call in calls(place) if call.startswith("install.sh")]


def test_a_lock_is_installed_again_when_it_changes(place: Path) -> None:
    put(place / "made/bin/python", place, 0)
    install = "-m pip install --quiet --disable-pip-version-check --no-deps"
    both = [
        f"python {install} --no-compile --require-hashes -r {place}/made/packages.txt",
        f"python {install} --no-build-isolation --editable .",
    ]

    for expected in (both, []):
        assert run(place, 'install_packages "$PWD/made" dev').returncode == 0
        assert calls(place) == expected
    (place / "requirements/dev.txt").write_text("llama-cpp-python==2\n")
    assert run(place, 'install_packages "$PWD/made" dev').returncode == 0
    assert calls(place) == both


def test_packages_are_the_lock_without_the_engine(place: Path) -> None:
    """Their installation runs beside the compiler, so it must not wait for the engine."""
    put(place / "made/bin/python", place, 0)
    one, engine, two = (
        f"{name}==1 \\\n    --hash=sha256:{name}\n" for name in ("a", "llama-cpp-python", "b")
    )
    (place / "requirements/dev.txt").write_text(f"# made\n{one}{engine}{two}")

    assert run(place, 'install_packages "$PWD/made" dev').returncode == 0

    assert (place / "made/packages.txt").read_text() == f"# made\n{one}{two}"


@pytest.mark.parametrize("broken", ["engine", "packages"])
def test_an_environment_is_whole_or_an_error(place: Path, broken: str) -> None:
    """Whichever of the two fails, the other keeps its stamp, and the next run does the rest."""
    put(place / "bin/mine", place, 0)
    code = 'install_environment "$PWD/made" dev dev plain'
    if broken == "engine":
        installer = place / "app/rerankd/engine/patches/install.sh"
        whole = installer.read_text()
        installer.write_text("#!/bin/sh\nexit 3\n")
    else:
        installer = place / "requirements/dev.txt"
        whole = installer.read_text()
        code = code.replace(" dev dev ", " gone dev ")

    assert run(place, code, PYTHON="mine").returncode != 0
    stamps = {path.stem for path in files_in(place / "made", "*.installed")}
    assert stamps == ({"dev"} if broken == "engine" else {"engine"})
    installer.write_text(whole)
    assert run(place, code.replace(" gone ", " dev "), PYTHON="mine").returncode == 0
    assert {path.stem for path in files_in(place / "made", "*.installed")} == {"dev", "engine"}


def test_an_environment_may_import_what_another_has(place: Path) -> None:
    """A .pth file names the other one's packages."""
    packages = place / f"lent/lib/python3.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    own = place / "own/bin/python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)

    assert run(place, 'lend_packages "$PWD/lent"', venv=str(place / "own")).returncode == 0

    (pth,) = packages.iterdir()
    assert pth.read_text().startswith("import site; site.addsitedir('/")


def test_every_script_is_named_by_a_recipe() -> None:
    """Nothing is left that no recipe runs, and each may be executed; two are only sourced."""
    recipes = (ROOT / "justfile").read_text()
    sourced = {"environment.sh", "cross.sh"}
    scripts = {path.name for path in files_in(ROOT, "scripts/*.sh")} - sourced

    for name in scripts:
        assert f"scripts/{name}" in recipes
        assert os.access(ROOT / "scripts" / name, os.X_OK)
