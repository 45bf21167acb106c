"""Small documents that several tests of the retriever use."""

from __future__ import annotations

import hashlib

from services.retriever.retriever import IncomingDocument

A1 = b"""# A1 interface

The A1 interface connects the Non-RT RIC with the Near-RT RIC.

## Policies

A1 policies guide the optimisation of the RAN. A policy names its scope.

## Timing

The Near-RT RIC acts within ten milliseconds to one second.
"""
E2 = b"""# E2 interface

The E2 interface connects the Near-RT RIC with E2 nodes such as the O-DU.

## Service models

E2SM-KPM reports measurements such as RRU.PrbTotDl from the O-DU.
"""
PTP = b"""# Synchronisation

phc2sys keeps the system clock in step with the hardware clock of the network card.
"""


def document(source: str, data: bytes, media_type: str = "") -> IncomingDocument:
    return IncomingDocument(source, media_type, data, hashlib.sha256(data).hexdigest())
