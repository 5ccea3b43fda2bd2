"""``python -m cdk_distributed_map.cli`` is ``distmap``."""

from __future__ import annotations

from cdk_distributed_map.cli import main

if __name__ == "__main__":
    main()
