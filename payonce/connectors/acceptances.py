"""What an acquirer's word of a dispute says of our acceptance of it: the same for every connector."""

from payonce.connectors.base import Call
from payonce.domain.facts import Approved, DeclineCode, Declined, Disputed


def outcome(call: Call, said: Disputed) -> Approved | Declined | None:
    """What became of the acceptance, by how its dispute stands; None while that waits for somebody.

    Given in is lost, whoever's word it was: nothing follows from which.
    """
    match said.status:
        case "accepted" | "lost":
            return Approved(said.id, call.amount_minor, call.currency, dispute=said)
        case "won" | "closed":
            return too_late(said)
        case "needs_response" | "under_review":
            return None


def too_late(said: Disputed) -> Declined:
    """The acquirer does not take it, since the dispute does not wait for us any more."""
    return Declined(DeclineCode.GENERIC_DECLINE, connector_reference=said.id, dispute=said)
