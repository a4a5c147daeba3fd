"""What the unit tests have in common."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a busy machine a test is slow, not red.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
