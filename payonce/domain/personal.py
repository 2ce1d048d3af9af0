"""Who pays, from where and for whom: what acquirers ask for besides the means of payment. No repr shows any of it.

The customer and the channel belong to the payment. Bill, parcel and browser are personal data that nobody is shown:
they go to the acquirer, and where a run of another process may have to send them, they wait for it sealed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, Self

Channel = Literal["web", "ios", "android", "moto"]  # moto: by letter or telephone, typed in by the merchant


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """The merchant's customer, as the merchant knows them."""

    id: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """From the members that are known by now."""
        return cls(**_known(cls, members))


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a bill or a parcel goes."""

    line1: str = field(repr=False)
    line2: str | None = field(default=None, repr=False)
    city: str | None = field(default=None, repr=False)
    state: str | None = field(default=None, repr=False)
    postal_code: str | None = field(default=None, repr=False)
    country: str = field(repr=False)  # ISO 3166-1 alpha-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Whom a bill or a parcel is for."""

    name: str | None = field(default=None, repr=False)
    address: Address | None = None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """From the members that are known by now."""
        address = members.get("address")
        return cls(
            name=members.get("name"),
            address=None if address is None else Address(**_known(Address, address)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """What the customer's browser says of itself, as the merchant's page has read it."""

    ip: str = field(repr=False)
    user_agent: str = field(repr=False)
    accept: str | None = field(default=None, repr=False)
    language: str | None = field(default=None, repr=False)
    color_depth: int | None = field(default=None, repr=False)
    screen_width: int | None = field(default=None, repr=False)
    screen_height: int | None = field(default=None, repr=False)
    time_zone_offset: int | None = field(default=None, repr=False)  # minutes behind UTC, as JavaScript counts
    java_enabled: bool | None = field(default=None, repr=False)
    javascript_enabled: bool | None = field(default=None, repr=False)

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """From the members that are known by now."""
        return cls(**_known(cls, members))


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """What of a payment is never shown, and forgotten once no acquirer can need it any more."""

    billing: Party | None = None
    shipping: Party | None = None
    browser: Browser | None = None

    def written(self) -> str:
        """As text, for sealing."""
        return json.dumps(_without_nulls(asdict(self)), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Self:
        """What `written` wrote, also that of another release."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """From the members of a create, or of what `written` wrote."""
        billing, shipping, browser = (members.get(name) for name in ("billing", "shipping", "browser"))
        return cls(
            billing=None if billing is None else Party.of(billing),
            shipping=None if shipping is None else Party.of(shipping),
            browser=None if browser is None else Browser.of(browser),
        )


NOTHING_PERSONAL: Final = PersonalData()


def _known(type_: Any, members: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(type_)}
    return {name: value for name, value in members.items() if name in names}


def _without_nulls(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in members.items()
        if value is not None
    }
