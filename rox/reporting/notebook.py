"""Run a notebook with typed parameters, and say in one message what went wrong.

A notebook declares its parameters in one cell tagged ``parameters``: annotated assignments of literals, such as
``SEED: int = 1``. A run may replace their values, never add to them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

from rox.core.errors import RunError
from rox.core.files import written_whole

TAG = "parameters"
TYPES: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: name, type, default, and the comment that explains it."""

    name: str
    kind: str
    default: Any
    comment: str


def parameters(path: str | Path) -> dict[str, Parameter]:
    """Read which parameters a notebook has.

    Raises:
        RunError: It has no cell tagged ``parameters``, or the cell holds something else than annotated literals.
    """
    return _declared(_tagged(_read(Path(path)), Path(path)).source, Path(path))


def faults_of(path: str | Path, values: Mapping[str, Any]) -> list[str]:
    """List the values that are not parameters of a notebook, or of another type.

    Raises:
        RunError: The notebook has no proper cell of parameters.
    """
    return _faults(parameters(path), values)


def execute(
    path: str | Path,
    target: str | Path,
    values: Mapping[str, Any] | None = None,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    timeout: int = 1800,
) -> Path:
    """Run a notebook and keep the executed copy, whole or partly run.

    Args:
        path: The notebook.
        target: Where the executed copy goes.
        values: Parameters that differ from their defaults.
        folder: Working folder of the kernel; by default the target's.
        progress: Called before each cell with its number, the number of cells, and its heading.
        timeout: Seconds a cell may take.

    Returns:
        The target.

    Raises:
        RunError: A parameter is unknown or of the wrong type (nothing is run), or a cell failed: the message names the
            notebook, the heading, the cause and where the partly run copy is.
    """
    path, target = Path(path), Path(target)
    notebook = _read(path)
    cell = _tagged(notebook, path)
    cell.source = _replaced(cell.source, _declared(cell.source, path), values or {}, path)
    headings = _headings(notebook)
    where = Path(folder) if folder is not None else target.parent
    where.mkdir(parents=True, exist_ok=True)

    def say(cell: Any, cell_index: int) -> None:
        if progress is not None and cell.cell_type == "code":
            progress(cell_index + 1, len(notebook.cells), headings[cell_index])

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(where)}},
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=say,
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
    )
    failure = None
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as cause:
        failure = cause
    finally:
        with written_whole(target) as draft:
            nbformat.write(notebook, draft)  # type: ignore[no-untyped-call]
    if failure is not None:
        raise RunError(f"Notebook {path.stem} stopped.", _explained(failure, notebook, headings, target)) from failure
    return target


def _read(path: Path) -> Any:
    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise RunError(f"There is no notebook at {path}.") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as cause:
        raise RunError(f"{path} is not a notebook.", [str(cause).splitlines()[0]]) from cause


def _tagged(notebook: Any, path: Path) -> Any:
    cells = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise RunError(f"{path.name} has {len(cells)} cells tagged {TAG!r}; it needs one.")
    return cells[0]


def _declared(source: str, path: Path) -> dict[str, Parameter]:
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        try:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
                raise ValueError
            kind, default = ast.unparse(node.annotation), ast.literal_eval(node.value)
            if kind not in TYPES:
                raise ValueError
        except ValueError:
            raise RunError(
                f"{path.name}: its parameters cell holds something else than parameters.",
                [f"line {node.lineno}: {lines[node.lineno - 1]}", f"write NAME: {'|'.join(TYPES)} = value"],
            ) from None
        comment = lines[node.lineno - 1].partition("  # ")[2]
        found[node.target.id] = Parameter(node.target.id, kind, default, comment)
    return found


def _faults(declared: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[str]:
    faults = []
    for name, value in values.items():
        if name not in declared:
            faults.append(f"{name}: unknown; the parameters are {', '.join(declared)}")
        elif not _fits(value, TYPES[declared[name].kind]):
            faults.append(f"{name}: {value!r} is a {type(value).__name__}; needed: {declared[name].kind}")
    return faults


def _replaced(source: str, declared: Mapping[str, Parameter], values: Mapping[str, Any], path: Path) -> str:
    if faults := _faults(declared, values):
        raise RunError(f"Notebook {path.stem} was not run: its parameters do not fit.", faults)
    lines = []
    for parameter in declared.values():
        comment = f"  # {parameter.comment}" if parameter.comment else ""
        value = values.get(parameter.name, parameter.default)
        lines.append(f"{parameter.name}: {parameter.kind} = {value!r}{comment}")
    return "\n".join(lines)


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float)) if kind is float else isinstance(value, kind)


def _headings(notebook: Any) -> list[str]:
    """The nearest heading at or above each cell."""
    current, found = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            titles = [line for line in cell.source.splitlines() if line.startswith("#")]
            current = titles[-1].lstrip("# ").strip() if titles else current
        found.append(current)
    return found


def _explained(failure: Exception, notebook: Any, headings: list[str], target: Path) -> list[str]:
    """Heading, cause and place of a failure, without its traceback."""
    place = next(
        (
            i
            for i, cell in enumerate(notebook.cells)
            if any(out.output_type == "error" for out in cell.get("outputs", []))
        ),
        None,
    )
    lines = [] if place is None else [f"at: {headings[place]} (cell {place + 1} of {len(notebook.cells)})"]
    if isinstance(failure, CellExecutionError):
        first, *rest = f"{failure.evalue}".splitlines() or [""]
        lines += [f"cause: {failure.ename}: {first}", *rest]
    else:
        lines.append(f"cause: {str(failure).splitlines()[0]}")
    return [*lines, f"the partly run notebook is {target}"]
