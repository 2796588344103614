"""Tests with the released controllers of Kubernetes and KEDA. Run by `make kubernetes` only."""
