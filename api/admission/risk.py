"""A create's risk is asked for once its key is known to be new, and before it is admitted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from api.admission.overload import Place
from api.admission.posts import CreatePost
from payonce.domain.personal import Party
from payonce.domain.risk import RiskSubjects
from payonce.domain.risk_rules import PROVIDER, UNKNOWN
from payonce.risk.base import RiskView
from payonce.risk.listing import listed_value, networks_around
from payonce.runtime import Runtime
from payonce.storage import idempotency, risk_facts, risk_lists
from payonce.storage.driver.database import StorageUnavailable, within
from payonce.storage.risk_facts import KnownCard

LOOK_UP_WITHIN_S = 1.0


class RiskDesk:
    """Asks whoever the merchant chose, while the request is away."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._hashes = runtime, runtime.risk_subjects

    async def assessed(self, create: CreatePost, place: Place) -> CreatePost:
        """With what was said, where somebody is to be asked and the key is new.

        Where that cannot be told nobody is asked: should the key be free after all, nothing is admitted.
        """
        if not create.policy.providers or not self._runtime.database.gate.open:
            return create
        subjects = self._subjects(create) if PROVIDER in create.policy.providers else None
        try:
            found = await within(LOOK_UP_WITHIN_S, self._found(create, subjects))
        except StorageUnavailable:
            return create
        if found is None:
            return create
        view = view_of(create, found.saved)
        if subjects is not None:
            known = subjects.card if found.saved is None else found.saved.card
            subjects = replace(subjects, card=known)
            view = replace(view, subjects=subjects, listed=found.listed)
        with place.away():
            assessment = await self._runtime.risk.ask(view, create.policy)
        return replace(create, assessed=True, assessment=assessment, subjects=subjects)

    async def _found(self, create: CreatePost, subjects: RiskSubjects | None) -> "_Found | None":
        """The saved card, and what the merchant's lists say, read together with the key; None: the key is known."""
        post, token = create.post, create.new.token
        merchant_id, mode = post.caller.merchant_id, post.caller.mode
        of_key = idempotency.key_of(merchant_id=merchant_id, mode=mode, key=post.stored_key)
        card = None if subjects is None else subjects.card
        of_lists = risk_lists.matching(
            merchant_id, mode, given_of(create), card=card, payment_method_id=token
        )
        saved: KnownCard | None = None
        listed: Mapping[str, str] = {}
        async with self._runtime.tenants.reading(post.caller) as connection:
            if token is not None:
                of_saved = risk_facts.saved(token, merchant_id, mode)
                known, saved, listed = await connection.fetch_together(of_key, of_saved, of_lists)
            elif subjects is not None:
                known, listed = await connection.fetch_together(of_key, of_lists)
            else:
                known = await connection.fetch(of_key)
        return None if known else _Found(saved, listed)

    def _subjects(self, create: CreatePost) -> RiskSubjects:
        new, caller = create.new, create.post.caller
        browser, paying = new.personal.browser, new.card or new.network_token
        return self._hashes.of(
            payment_id=create.payment_id,
            merchant_id=caller.merchant_id,
            mode=caller.mode,
            number=None if paying is None else paying.number,
            customer=new.customer,
            ip=None if browser is None else browser.ip,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """What Postgres knows of a payment with a new key."""

    saved: KnownCard | None  # with which it is paid
    listed: Mapping[str, str]


def given_of(create: CreatePost) -> list[tuple[str, str]]:
    """What of the payment may be on a list: kinds and values. What a saved card is comes from Postgres."""
    new, customer = create.new, create.new.customer or {}
    browser = new.personal.browser
    country = create.runtime.issuers.country_of(new.card, mode=create.post.caller.mode)
    if new.card is not None or new.network_token is not None:
        country = country or UNKNOWN
    found = [("customer", customer.get("id")), ("email", customer.get("email")), ("country", country)]
    found += [] if browser is None else [("address", network) for network in networks_around(browser.ip)]
    return [(kind, listed_value(kind, value)) for kind, value in found if value is not None]


def view_of(create: CreatePost, saved: KnownCard | None = None) -> RiskView:
    """What a provider is told; `saved`: the card that it is paid with, where it was saved before."""
    new, post = create.new, create.post
    card, browser = new.card or new.network_token or saved, new.personal.browser
    country = create.runtime.issuers.country_of(new.card, mode=post.caller.mode)
    return RiskView(
        payment_id=create.payment_id,
        merchant_id=post.caller.merchant_id,
        mode=post.caller.mode,
        amount_minor=new.amount_minor,
        currency=new.currency,
        method=new.method,
        channel=new.channel,
        brand=None if card is None else card.brand,
        first6=None if new.card is None else new.card.number[:6],
        last4=None if card is None else card.last4,
        issuer_country=country if saved is None else saved.issuer_country,
        customer=new.customer,
        ip=None if browser is None else browser.ip,
        user_agent=None if browser is None else browser.user_agent,
        billing_country=_country(new.personal.billing),
        shipping_country=_country(new.personal.shipping),
        metadata=new.metadata,
        merchant_reference=new.merchant_reference,
    )


def _country(party: Party | None) -> str | None:
    return None if party is None or party.address is None else party.address.country
