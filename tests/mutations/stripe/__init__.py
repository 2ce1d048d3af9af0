"""Misreadings of Stripe's documentation, planted in its connector, each with the tests that must notice.

They were written down from the documentation by somebody who had seen neither the connector nor its tests. `rule` is
the misreading's number and letter; docs/acquirers/stripe.md counts them, and lists those that cannot be planted.
"""

from typing import Final

from tests.mutations.stripe.answers_and_keys import ANSWERS_AND_KEYS
from tests.mutations.stripe.errors import ERRORS
from tests.mutations.stripe.later import LATER
from tests.mutations.stripe.rest_of_answers import REST_OF_ANSWERS
from tests.mutations.stripe.rest_of_later import REST_OF_LATER

PLANTS: Final = (*ANSWERS_AND_KEYS, *ERRORS, *LATER, *REST_OF_ANSWERS, *REST_OF_LATER)
