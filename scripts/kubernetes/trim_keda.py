"""Copies KEDA's source without the parts that a test of the exporter does not need.

Usage: trim_keda.py SOURCE TARGET. What decides stays as released: the controllers, the scale loop,
`fallback`, the HPA, the metrics service, and the scalers `external` and `external-push`. Left out
are the other scalers and the secret stores of the clouds, which are most of what KEDA is built
from. Changed is the format of requests to the API server.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

STUBS = Path(__file__).with_name("stubs")
SCALERS = ("external", "external-push")
KEPT_FILES = {"scaler.go", "external_scaler.go"}
KEPT_FOLDERS = {"authentication", "scalersconfig", "externalscaler"}
"""In `pkg/scalers`."""
RESOLVER = "pkg/scaling/resolver"


def copy(source: Path, target: Path) -> None:
    """Copy all files but tests. The source may be read-only; the copy is not."""
    for path in source.rglob("*"):
        name = path.relative_to(source)
        if path.is_file() and name.parts[0] != "tests" and not name.name.endswith("_test.go"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that must occur."""
    text = path.read_text()
    if old not in text:
        raise SystemExit(f"{path}: there is no {old!r}")
    path.write_text(text.replace(old, new))


def cut(path: Path, pattern: str) -> str:
    """Remove the first match of a pattern and return it."""
    text = path.read_text()
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"{path}: nothing matches {pattern!r}")
    path.write_text(text[: found.start()] + text[found.end() :])
    return found[0]


def keep_scalers(keda: Path) -> None:
    """Remove the other scalers, and their cases where scalers are made."""
    for path in (keda / "pkg/scalers").iterdir():
        if path.is_dir() and path.name not in KEPT_FOLDERS:
            shutil.rmtree(path)
        elif path.is_file() and path.name not in KEPT_FILES:
            path.unlink()
    builder = keda / "pkg/scaling/scalers_builder.go"
    cases = cut(builder, r'^\tcase ".*?(?=^\tdefault:\n\t\treturn nil, fmt)')
    made = dict(re.findall(r'^\tcase "([^"]+)":\n((?:\t\t[^\n]*\n)+)', cases, re.MULTILINE))
    kept = "".join(f'\tcase "{name}":\n{made[name]}' for name in SCALERS)
    change(builder, "\tswitch triggerType {\n", f"\tswitch triggerType {{\n{kept}")


def replace_clouds(keda: Path) -> None:
    """Replace the secret stores and event targets of the clouds by stubs."""
    vault = keda / RESOLVER / "hashicorpvault_handler.go"
    constants = cut(vault, r"^const \(\n.*?^\)\n")
    equal = cut(vault, r"^func vaultAddressesEqual\(.*?^}\n")
    head = 'package resolver\n\nimport (\n\t"net/url"\n\t"strings"\n)\n\n'
    (keda / RESOLVER / "vault_addresses.go").write_text(f"{head}{constants}\n{equal}")
    vault.unlink()
    for name in ("aws_secretmanager", "azure_keyvault", "gcp_secretmanager"):
        (keda / RESOLVER / f"{name}_handler.go").unlink()
    (keda / "pkg/scalers/azure").mkdir()
    stubs = {
        "azure.go": "pkg/scalers/azure/azure.go",
        "metric_type.go": "pkg/scalers/metric_type.go",
        "secrets.go": f"{RESOLVER}/secrets.go",
        "events.go": "pkg/eventemitter/azure_event_grid_topic_handler.go",
    }
    for stub, place in stubs.items():
        shutil.copyfile(STUBS / stub, keda / place)


def main(source: str, target: str) -> None:
    """Write the trimmed copy."""
    keda = Path(target)
    shutil.rmtree(keda, ignore_errors=True)
    copy(Path(source), keda)
    keep_scalers(keda)
    replace_clouds(keda)
    (keda / "pkg/util/ginkgo_reporter.go").unlink()
    login = keda / "pkg/scalers/authentication/authentication_helpers.go"
    cut(login, r"^\tcase FastHTTP:\n.*?^\t\treturn rt, nil\n")
    for package in ("libs/external/configs", "external/http_transport", "common/config"):
        cut(login, rf'^\t[^\n"]*"[^\n"]*{package}"\n')
    # The tests' API server knows no protobuf.
    made = "\tcfg := ctrl.GetConfigOrDie()\n"
    change(keda / "cmd/operator/main.go", made, made + '\tcfg.ContentType = "application/json"\n')
    # All versions are in the go.mod of the module that is built.
    cut(keda / "go.mod", r"^(//|replace|require) .*\Z")


if __name__ == "__main__":
    main(*sys.argv[1:])
