"""The error codes of Postgres."""

import re

from psycopg import Error as DriverError
from psycopg import errors

STATE = re.compile(r"^[0-9A-Z]{5}$")


def of_the_driver() -> set[str]:
    """The SQLSTATEs that psycopg has a class for."""
    classes = [found for found in vars(errors).values() if isinstance(found, type)]
    states = {found.sqlstate for found in classes if issubclass(found, DriverError)}
    return {state for state in states if state and STATE.match(state)}
