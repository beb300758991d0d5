"""Kubernetes clusters behind the domain's port; the only package that imports kubernetes_asyncio."""

from hdr_responder.adapters.kubernetes.adapter import KubernetesAdapter

__all__ = ["KubernetesAdapter"]
