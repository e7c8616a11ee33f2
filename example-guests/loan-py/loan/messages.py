"""Commands and events, with the names of the published log."""

from quipu_guest import U64, message

# Commands.


@message
class Submit:
    """A customer applies."""

    amount: U64  # Euros; zero is possible.


@message
class PartlySubmit:
    """The first automatic checks have passed."""


@message
class Preaccept:
    """The bank asks the customer for more information."""


@message
class Accept:
    """The application is complete and eligible for an offer."""


@message
class Finalize:
    """The terms of the offer are agreed."""


@message
class Approve:
    """The bank agrees."""


@message
class Register:
    """The loan is recorded in the books."""


@message
class Activate:
    """The money is available."""


@message
class Decline:
    """The bank says no."""


@message
class Cancel:
    """The customer gives up."""


@message
class SelectOffer:
    """An offer is selected to be created."""


@message
class CreateOffer:
    """A selected offer is created."""


@message
class SendOffer:
    """A created offer is sent to the customer."""


@message
class ReturnOffer:
    """The customer sends an offer back."""


@message
class AcceptOffer:
    """An offer becomes the loan."""


@message
class CancelOffer:
    """An offer is withdrawn."""


@message
class DeclineOffer:
    """An offer is refused by the bank."""


@message
class ScheduleWork:
    """Work is added to the list."""

    item: str  # For example validate-application.


@message
class StartWork:
    """Somebody starts an item of work."""

    item: str


@message
class CompleteWork:
    """Somebody pauses or completes an item of work."""

    item: str


# Events.


@message
class ApplicationSubmitted:
    """The first event of the stream."""

    amount: U64


@message
class ApplicationPartlySubmitted:
    """The first checks passed."""


@message
class ApplicationPreaccepted:
    """The bank asked the customer for more information."""


@message
class ApplicationAccepted:
    """The application was complete."""


@message
class ApplicationFinalized:
    """The terms were agreed."""


@message
class ApplicationApproved:
    """The bank agreed. The amount is repeated, so that a reader of only this event has it."""

    amount: U64


@message
class ApplicationRegistered:
    """The loan was recorded in the books."""


@message
class ApplicationActivated:
    """The money became available."""


@message
class ApplicationDeclined:
    """The bank said no."""


@message
class ApplicationCancelled:
    """The customer gave up."""


@message
class OfferSelected:
    """An offer was selected."""


@message
class OfferCreated:
    """An offer was created."""


@message
class OfferSent:
    """An offer was sent."""


@message
class OfferReturned:
    """An offer was returned."""


@message
class OfferAccepted:
    """An offer became the loan."""


@message
class OfferCancelled:
    """An offer was withdrawn."""


@message
class OfferDeclined:
    """An offer was refused."""


@message
class WorkScheduled:
    """Work was added to the list."""

    item: str


@message
class WorkStarted:
    """Somebody started an item of work."""

    item: str


@message
class WorkCompleted:
    """Somebody paused or completed an item of work."""

    item: str


COMMANDS = [
    Submit,
    PartlySubmit,
    Preaccept,
    Accept,
    Finalize,
    Approve,
    Register,
    Activate,
    Decline,
    Cancel,
    SelectOffer,
    CreateOffer,
    SendOffer,
    ReturnOffer,
    AcceptOffer,
    CancelOffer,
    DeclineOffer,
    ScheduleWork,
    StartWork,
    CompleteWork,
]

EVENTS = [
    ApplicationSubmitted,
    ApplicationPartlySubmitted,
    ApplicationPreaccepted,
    ApplicationAccepted,
    ApplicationFinalized,
    ApplicationApproved,
    ApplicationRegistered,
    ApplicationActivated,
    ApplicationDeclined,
    ApplicationCancelled,
    OfferSelected,
    OfferCreated,
    OfferSent,
    OfferReturned,
    OfferAccepted,
    OfferCancelled,
    OfferDeclined,
    WorkScheduled,
    WorkStarted,
    WorkCompleted,
]
