//! Lifts events and migrates snapshots of the first generation.

use std::collections::BTreeMap;

use quipu_guest::{Migrations, Steps, Upcaster};
use serde::{Deserialize, Serialize};

use crate::state::Grants;
use crate::{Grant, Loan, Money, Offers, Status};

/// Lifts events of the first generation.
pub struct LoanUpcasts;

impl Upcaster for LoanUpcasts {
    const CATEGORY: &'static str = "loan";

    fn steps() -> Steps {
        Steps::new()
            .lift("application-submitted", 1)
            .map(|old: Amount| Requested {
                requested: Money::euros(old.amount),
            })
            .to(2)
            .lift("application-partly-submitted", 1)
            .rename_type("application-checked")
            .to(1)
            .lift("application-approved", 1)
            .split(
                &[("application-approved", 2), ("credit-granted", 1)],
                |old: Amount, parts| {
                    let credit = Money::euros(old.amount);
                    parts.push("application-approved", 2, Nothing {});
                    parts.push("credit-granted", 1, Granted { credit });
                },
            )
            .lift("work-scheduled", 1)
            .rename_field("item", "work")
            .to(2)
            .lift("work-started", 1)
            .rename_field("item", "work")
            .to(2)
            .lift("work-completed", 1)
            .rename_field("item", "work")
            .to(2)
    }
}

#[derive(Deserialize)]
struct Amount {
    amount: u64,
}

#[derive(Serialize)]
struct Requested {
    requested: Money,
}

#[derive(Serialize)]
struct Granted {
    credit: Money,
}

#[derive(Serialize)]
struct Nothing {}

/// Format of the state in the first generation.
#[derive(Deserialize)]
struct LoanV1 {
    status: Status,
    amount: u64,
    approved: bool,
    registered: bool,
    activated: bool,
    offers: Offers,
    work: BTreeMap<String, u32>,
}

pub(crate) fn migrations() -> Migrations {
    Migrations::none().map(1, 2, |old: LoanV1| {
        let grants = [
            (old.approved, Grant::Approved),
            (old.registered, Grant::Registered),
            (old.activated, Grant::Activated),
        ];
        let done = grants.into_iter().filter(|(done, _)| *done);
        Loan {
            status: old.status,
            requested: Money::euros(old.amount),
            grants: done.map(|(_, grant)| grant).collect::<Grants>(),
            offers: old.offers,
            work: old.work,
        }
    })
}
