"""The house rules that no linter knows: sizes, names, docstrings, and lists that must agree.

docs/STYLE.md gives the reasons. A finding is a line `path:line: what`.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 6  # five, and `tx` before them
MAX_MODULE_DOCSTRING_LINES = 15
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc", "shared"}
BANNED_SUFFIXES = ("Service", "Manager", "Helper", "Util", "Utils")
# What typer makes options of, and what a test asks for, is no argument list in the usual sense.
FREE_ARGUMENT_LISTS = ("src/penstock/cli/", "tests/")
# The brackets keep these lines from finding themselves.
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|NotImplemented[E]rror)\b")
STRAY_ADDRESS = re.compile(
    r"files[.]python[h]osted|py[p]i[.]org/(simple|packages)|registry[.]np[m]"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the repository, or of this source tree where git knows none."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    command += ["--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, check=False, capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name]
    if listed.returncode != 0:
        names = [str(p.relative_to(ROOT)) for q in patterns for p in ROOT.glob(f"*/**/{q}")]
    return sorted(ROOT / name for name in set(names) if (ROOT / name).is_file())


def python_files() -> list[Path]:
    return tracked("*.py")


def package_files() -> list[Path]:
    return [path for path in python_files() if path.is_relative_to(ROOT / "src")]


def where(path: Path, line: int = 1) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in python_files():
        yield path, ast.parse(path.read_text("utf-8"))


def functions() -> Iterator[tuple[Path, Function]]:
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    long = [
        f"{where(path)}: {count} lines"
        for path in [*python_files(), *tracked("*.sql")]
        if (count := len(path.read_text("utf-8").splitlines())) > MAX_FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{where(path, node.lineno)}: {node.name} has {count} lines"
        for path, node in functions()
        if (count := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_takes_more_arguments_than_five_and_a_transaction() -> None:
    many: list[str] = []
    for path, node in functions():
        if str(path.relative_to(ROOT)).startswith(FREE_ARGUMENT_LISTS):
            continue
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in every if argument.arg not in {"self", "cls"}]
        if len(names) > MAX_ARGUMENTS:
            many.append(f"{where(path, node.lineno)}: {node.name} takes {len(names)}")
    assert not many, "\n".join(many)


def test_every_module_opens_by_saying_what_it_owns() -> None:
    wrong: list[str] = []
    for path, tree in trees():
        docstring = ast.get_docstring(tree)
        if docstring is None:
            wrong.append(f"{where(path)}: no docstring")
        elif len(docstring.splitlines()) > MAX_MODULE_DOCSTRING_LINES:
            wrong.append(f"{where(path)}: the docstring is an essay")
    assert not wrong, "\n".join(wrong)


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [
        where(path)
        for path in package_files()
        if {*path.relative_to(ROOT).with_suffix("").parts} & BANNED_MODULES
    ]
    assert not named, "\n".join(named)


def test_no_class_is_a_service_or_a_manager() -> None:
    named = [
        f"{where(path, node.lineno)}: {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_SUFFIXES)
    ]
    assert not named, "\n".join(named)


def test_a_package_file_re_exports_nothing() -> None:
    exporting = [
        where(path, node.lineno)
        for path in package_files()
        if path.name == "__init__.py"
        for node in ast.parse(path.read_text("utf-8")).body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert not exporting, "\n".join(exporting)


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{where(path, number)}: {line.strip()[:80]}"
        for path in tracked("*.py", "*.sql", "*.yaml", "*.html", "*.js", "Makefile")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_registry_address_is_in_the_repository() -> None:
    texts = tracked("*.py", "*.toml", "*.lock", "*.in", "*.md", "*.yaml", "Makefile")
    found = [where(path) for path in texts if STRAY_ADDRESS.search(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_the_lock_s_names_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "requirements.in").read_text("utf-8").splitlines()
    wanted = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert wanted == set(declared)


def test_every_requirement_is_pinned_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = re.findall(r"^([a-z0-9][a-z0-9-]*)==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    entries = re.findall(r"^[A-Za-z0-9]\S*", lock, re.MULTILINE)
    assert len(pinned) == len(entries)
    names = (ROOT / "requirements.in").read_text("utf-8").splitlines()
    direct = {re.sub(r"\[.*\]|_", lambda m: "-" if m[0] == "_" else "", n).lower() for n in names}
    missing = {name for name in direct if name and not name.startswith("#")} - set(pinned)
    assert not missing
