"""Prints what cdk-nag's AwsSolutions rules find in an app: python nag.py app.py.

The app makes its tree and synthesizes; then the same tree is synthesized again under the rules. Nothing of the app has
to be written for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(app_file: str, out: str) -> None:
    """Print a list of rule, path and description."""
    os.environ["CDK_OUTDIR"] = out
    os.environ["CDK_CONTEXT_JSON"] = json.dumps(json.loads((ROOT / "cdk.json").read_text())["context"])
    app = runpy.run_path(app_file)["app"]
    # After the app, so that it starts the CDK in its own way.
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    Validations.of(app).add_plugins(AwsSolutionsChecks())
    with contextlib.suppress(RuntimeError):  # jsii's way to say that there are findings
        app.synth(force=True)
    report = json.loads(Path(out, "validation-report.json").read_text())
    found = [
        {"rule": violation["ruleName"], "path": construct["constructPath"], "message": violation["description"]}
        for plugin in report["pluginReports"]
        if plugin["pluginName"] == "AwsSolutions"
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
