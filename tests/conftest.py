"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no finding; pytest-timeout ends what hangs.
settings.register_profile("argo")
settings.load_profile("argo")
