"""Kubernetes without containers: real controllers and real KEDA over an API server in memory.

The controllers of Deployments, ReplicaSets and HPAs and KEDA's operator are the released code,
built by `scripts/install-kubernetes-parts`. Stand-ins are the API server (`apiserver`, `store`),
the kubelet (`kubelet`), and the adapters that answer questions for external metrics
(`external_metrics`).

The API server refuses nothing that a real one would refuse: it neither validates nor authorizes.
`manifests` at least finds keys of a ScaledObject that KEDA does not know.
"""
