"""ARGO: answers O-RAN questions from documents, inside a time budget."""

__version__ = "0.1.0"
