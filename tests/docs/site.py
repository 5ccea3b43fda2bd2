"""The documentation's own modules, which are in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def load(name: str) -> ModuleType:
    """Load a module of ``docs/``, which may import others of that folder."""
    found = sys.modules.get(f"distmap_docs_{name}")
    if found is not None:
        return found
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))  # a script's own folder
    spec = importlib.util.spec_from_file_location(f"distmap_docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"distmap_docs_{name}"] = module
    spec.loader.exec_module(module)
    return module
