"""Imports of voltd point downwards, and none leads back; docs/architecture.md lists the layers."""

import ast
import graphlib
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
_FENCE = re.compile(r"^## Layers$.*?^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _layers():
    """Folders and files at the top of voltd/, each with the number of its layer; 0 is the uppermost."""
    (listed,) = _FENCE.findall((ROOT / "docs" / "architecture.md").read_text())
    return {name: number for number, line in enumerate(listed.splitlines()) for name in line.split()}


def _names(path):
    """What a file imports, by its full name, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name modules in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("voltd."))


def _imports(path):
    """Folders and files at the top of voltd/ that a file imports."""
    return (name.split(".")[1] for name in _names(path))


def test_every_part_has_a_layer():
    """A new folder or file at the top of voltd/ is given its place."""
    files = {path.stem for path in (ROOT / "voltd").glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in (ROOT / "voltd").glob("*/__init__.py")}
    assert set(_layers()) == files | folders


def test_imports_point_downwards():
    """From a part to itself or to a lower layer: parts of one layer do not know each other."""
    layers, package = _layers(), ROOT / "voltd"
    imports = {
        (str(path.relative_to(package)), imported) for path in package.rglob("*.py") for imported in _imports(path)
    }
    assert len(imports) > 300
    upwards = []
    for file, imported in sorted(imports):
        importer = file.split("/")[0].removesuffix(".py")
        if imported != importer and layers[imported] <= layers[importer]:
            upwards.append(f"{file} imports {imported}")
    assert upwards == []


def test_no_module_imports_itself_by_a_detour():
    """Modules that need each other cannot be understood, tested or moved one by one."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "voltd").rglob("*.py")
    }
    graph = {module: set() for module in files}
    for module, path in files.items():
        for name in _names(path):
            graph[module] |= {name if name in files else name.rpartition(".")[0]} - {module, "voltd"}
    assert sum(map(len, graph.values())) > 700
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert len(order) == len(files)
