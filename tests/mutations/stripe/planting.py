"""How a misreading of Stripe's is planted."""

from tests.mutations.planting import planter

planted = planter("stripe")
