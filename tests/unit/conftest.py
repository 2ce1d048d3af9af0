"""Hypothesis in unit tests: no deadline per example (machines differ) and nothing kept between runs."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("unit")
