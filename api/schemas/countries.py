"""The countries that an address may be in, by their ISO 3166-1 alpha-2 codes, and Kosovo, which the banks call XK."""

from typing import Final

from iso3166 import countries_by_alpha2

COUNTRIES: Final = frozenset(countries_by_alpha2)
