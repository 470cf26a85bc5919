"""package.xml and requirements.txt declare what the package imports; the manifest is complete."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
# Where the name of an import is neither a ROS package nor python3-<import>, the rosdep key.
ROSDEP_KEYS = {"PIL": "python3-pil", "cv2": "python3-opencv"}
# The same for the distribution that pip installs.
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
# Come with another requirement, whose versions of them are the ones that work with it.
COMES_WITH = {
    "huggingface_hub": ("transformers", "huggingface-hub"),
    "lz4": ("rosbags", "lz4"),
    "backports": ("rosbags", "backports.zstd"),
    "packaging": ("transformers", "packaging"),
}
COMES_WITH_CUDA = {"triton"}  # with PyTorch for GPUs, and is used there alone
NEWER_STANDARD_LIBRARY = {"compression"}  # from Python 3.14
# An example for those who have it says so at its top; nobody else needs it.
FOR_AN_EXAMPLE = {"py_trees"}
# Used where it is there; who asks for what needs it is told in one sentence.
OPTIONAL = {"pyarrow", "ray", "tf2_ros"}
# A pytest plugin is only ever imported by pytest.
FOR_TESTS = {"pytest"}


def sources() -> Iterator[Path]:
    """All Python files that are installed."""
    for folder in ("stride_ros", "launch", "scripts", "examples"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and (path.suffix == ".py" or path.parent.name == "scripts"):
                yield path


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports when it runs, wherever in it."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.orelse:
                visit(statement)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found - set(sys.stdlib_module_names) - NEWER_STANDARD_LIBRARY - {"stride_ros"}


def all_imports() -> set[str]:
    return set().union(*(imports(path) for path in sources())) - FOR_AN_EXAMPLE - OPTIONAL


def declared(*kinds: str) -> set[str]:
    return {str(element.text) for kind in kinds for element in MANIFEST.findall(kind)}


def pip_requirements() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


def rosdep_key(module: str, known: set[str]) -> str:
    return module if module in known else ROSDEP_KEYS.get(module, f"python3-{module}")


@pytest.mark.parametrize("module", sorted(all_imports()))
def test_every_import_is_declared(module: str) -> None:
    depends = declared("depend", "exec_depend") | (declared("test_depend") if module in FOR_TESTS else set())
    if rosdep_key(module, depends) in depends:
        return
    requirements = pip_requirements()
    if module in COMES_WITH_CUDA:
        assert "torch" in requirements
        return
    if module in COMES_WITH:
        requirement, name = COMES_WITH[module]
        assert requirement in requirements
        if importlib.util.find_spec(requirement) is None:
            pytest.skip(f"{requirement} is not installed")
        needs = importlib.metadata.requires(requirement) or []
        assert any(re.match(rf"{re.escape(name)}\b(?!.*extra ==)", need) for need in needs)
        return
    name = DISTRIBUTIONS.get(module, module.replace("_", "-"))
    assert name in requirements, f"{module} is imported, but neither in package.xml nor in requirements.txt"
    comments = "".join(re.findall(r"<!--(.*?)-->", (ROOT / "package.xml").read_text(), re.DOTALL))
    assert re.search(rf"\b{name}\b", comments), f"{module} is left to pip, and package.xml does not say so"


def test_nothing_is_declared_that_is_not_used() -> None:
    used = all_imports()
    interfaces = "".join(p.read_text() for kind in ("msg", "srv", "action") for p in (ROOT / kind).iterdir())
    cmake = (ROOT / "CMakeLists.txt").read_text()
    # Not imported: what runs the generated code, what each action needs, and the command in the README.
    indirect = {"rosidl_default_runtime", "action_msgs", "ros2launch"}
    for name in declared("depend", "exec_depend") - indirect:
        keys = {rosdep_key(module, {name}) for module in used}
        assert name in keys or f"{name}/" in interfaces, f"{name} is declared and not used"
    for name in declared("buildtool_depend"):
        assert f"find_package({name} " in cmake, f"{name} is declared and not used"


def test_interfaces_depend_on_the_packages_they_name() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    used = set()
    for kind in ("msg", "srv", "action"):
        files = {path.name for path in (ROOT / kind).iterdir()}
        assert files == set(re.findall(rf"{kind}/(\w+\.{kind})", cmake)), f"{kind}/ and CMakeLists.txt differ"
        for name in files:
            text = (ROOT / kind / name).read_text()
            used |= set(re.findall(r"^(\w+)/\w+", text, re.MULTILINE))
    generated = re.search(r"rosidl_generate_interfaces\(.*?DEPENDENCIES ([\w ]+)", cmake, re.DOTALL)
    assert generated
    assert used - {"stride_ros"} == set(generated[1].split())
    assert used - {"stride_ros"} <= declared("depend")


def test_manifest_says_where_the_source_and_the_bug_tracker_are() -> None:
    assert {url.get("type") for url in MANIFEST.findall("url")} >= {"repository", "bugtracker"}
    assert MANIFEST.findtext("license") == "Apache-2.0"
    assert (ROOT / str(MANIFEST.find("license").get("file"))).is_file()  # type: ignore[union-attr]


def test_documentation_settings_name_folders_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    header, settings = yaml.safe_load_all((ROOT / str(MANIFEST.findtext("export/rosdoc2"))).read_text())
    assert header == {"type": "rosdoc2 config", "version": 1}
    assert (ROOT / settings["settings"]["python_source"] / "__init__.py").is_file()
    [builder] = settings["builders"]
    assert (ROOT / builder["sphinx"]["user_doc_dir"]).is_dir()


def test_documentation_mocks_what_only_pip_installs() -> None:
    """rosdoc2 itself mocks what package.xml declares, by its name there."""
    mocked = next(
        ast.literal_eval(statement.value)
        for statement in ast.parse((ROOT / "docs" / "conf.py").read_text()).body
        if isinstance(statement, ast.Assign)
    )
    depends = declared("depend", "exec_depend")
    by_rosdoc2 = {name.removeprefix("python3-") for name in depends}
    assert {module for module in all_imports() | OPTIONAL if module not in by_rosdoc2} <= {*mocked, "rclpy"}
