use quipu_guest::Rejection;
use serde::Serialize;

use crate::{Command, Event, Loan, Status};

/// The longest name of a work item.
pub const ITEM_BYTES_MAX: usize = 64;

/// Decides a command. If it is accepted, the result is exactly one event.
pub(crate) fn decide(loan: &Loan, command: Command) -> Result<Event, Rejection> {
    match (loan.status, &command) {
        (Status::None, Command::Submit { .. }) => {}
        (Status::None, _) => {
            return Err(Rejection::new(
                "not-submitted",
                "there is no application yet",
            ));
        }
        (_, Command::Submit { .. }) => {
            return Err(Rejection::new(
                "already-submitted",
                "there is an application already",
            ));
        }
        _ => {}
    }
    match command {
        Command::Submit { amount } => Ok(Event::ApplicationSubmitted { amount }),
        Command::PartlySubmit => loan.step(Status::Submitted, Event::ApplicationPartlySubmitted),
        Command::Preaccept => loan.step(Status::PartlySubmitted, Event::ApplicationPreaccepted),
        Command::Accept => loan.step(Status::Preaccepted, Event::ApplicationAccepted),
        Command::Finalize => loan.step(Status::Accepted, Event::ApplicationFinalized),
        Command::Approve => loan.grant(
            loan.approved,
            Event::ApplicationApproved {
                amount: loan.amount,
            },
        ),
        Command::Register => loan.grant(loan.registered, Event::ApplicationRegistered),
        Command::Activate => loan.grant(loan.activated, Event::ApplicationActivated),
        Command::Decline => loan.end(Event::ApplicationDeclined),
        Command::Cancel => loan.end(Event::ApplicationCancelled),
        Command::SelectOffer => {
            loan.at_least(Status::Accepted)?;
            Ok(Event::OfferSelected)
        }
        Command::CreateOffer => {
            loan.at_least(Status::Finalized)?;
            offer(
                loan.offers.selected,
                "no-offer-selected",
                Event::OfferCreated,
            )
        }
        Command::SendOffer => {
            loan.at_least(Status::Finalized)?;
            offer(loan.offers.created, "no-offer-created", Event::OfferSent)
        }
        Command::ReturnOffer => offer(loan.offers.sent, "no-offer-sent", Event::OfferReturned),
        Command::AcceptOffer => loan.settle_offer(Event::OfferAccepted),
        Command::CancelOffer => loan.settle_offer(Event::OfferCancelled),
        Command::DeclineOffer => loan.settle_offer(Event::OfferDeclined),
        Command::ScheduleWork { item } => {
            if item.is_empty() || item.len() > ITEM_BYTES_MAX {
                let message = format!("item of {} bytes, 1 to {ITEM_BYTES_MAX}", item.len());
                return Err(Rejection::new("invalid-item", message));
            }
            Ok(Event::WorkScheduled { item })
        }
        Command::StartWork { item } => {
            loan.open_work(&item)?;
            Ok(Event::WorkStarted { item })
        }
        Command::CompleteWork { item } => {
            if loan.open_work(&item)? == 0 {
                let message = format!("{item} is completed as often as started");
                return Err(Rejection::new("work-not-started", message));
            }
            Ok(Event::WorkCompleted { item })
        }
    }
}

impl Loan {
    /// Checks that the application has exactly this status, and returns the event.
    fn step(&self, from: Status, event: Event) -> Result<Event, Rejection> {
        if self.status == from {
            Ok(event)
        } else {
            Err(self.misplaced(&format!("{from}")))
        }
    }

    fn at_least(&self, status: Status) -> Result<(), Rejection> {
        if self.status >= status && !self.status.is_end() {
            Ok(())
        } else {
            Err(self.misplaced(&format!("{status} or later")))
        }
    }

    fn grant(&self, done: bool, event: Event) -> Result<Event, Rejection> {
        match self.status {
            Status::Finalized | Status::Granted if !done => Ok(event),
            Status::Granted => Err(Rejection::new("already-done", "this was done before")),
            _ => Err(self.misplaced("finalized or granted")),
        }
    }

    fn end(&self, event: Event) -> Result<Event, Rejection> {
        self.at_least(Status::PartlySubmitted)?;
        Ok(event)
    }

    fn settle_offer(&self, event: Event) -> Result<Event, Rejection> {
        let out = self.offers.sent.saturating_add(self.offers.returned);
        offer(out, "no-offer-sent", event)
    }

    /// Returns how often a scheduled item was started and not completed.
    fn open_work(&self, item: &str) -> Result<u32, Rejection> {
        self.work.get(item).copied().ok_or_else(|| {
            Rejection::new("work-not-scheduled", format!("{item} was never scheduled"))
        })
    }

    fn misplaced(&self, needed: &str) -> Rejection {
        #[derive(Serialize)]
        struct Details {
            status: Status,
        }
        let status = self.status;
        let code = if status.is_end() {
            "ended"
        } else {
            "wrong-status"
        };
        Rejection::new(code, format!("application is {status}, needed {needed}"))
            .details(Details { status })
    }
}

fn offer(there: u32, code: &'static str, event: Event) -> Result<Event, Rejection> {
    if there > 0 {
        Ok(event)
    } else {
        Err(Rejection::new(code, "no offer is at that stage"))
    }
}
