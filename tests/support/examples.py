"""How many examples a property test looks at: a multiple of what the profile says, so the long one lengthens all."""

import hypothesis


def scaled(factor: float, *suppressed: hypothesis.HealthCheck) -> hypothesis.settings:
    """The profile's settings with ``factor`` times its examples, and without these health checks too."""
    profile = hypothesis.settings.default
    assert profile is not None
    return hypothesis.settings(
        max_examples=round(profile.max_examples * factor),
        suppress_health_check=[*profile.suppress_health_check, *suppressed],
    )
