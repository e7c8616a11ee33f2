//! Recorded decisions, made again, by hosts on every store.
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod candidates;
mod damage;
mod deploying;
mod refusals;
mod releases;
mod shadows;
mod swaps;
mod verify;

use quipu::Host;
use quipu::proof::{Finding, Scope, Verified};

/// All of the history.
pub async fn verified(host: &Host) -> Verified {
    host.verify(&Scope::default(), &mut |_| {}).await.unwrap()
}

/// How many decisions came to the same, and how many to something else.
pub fn decisions(verified: &Verified) -> (u64, u64) {
    let tallies = verified.commands.values();
    tallies.fold((0, 0), |(same, different), tally| {
        assert_eq!(tally.undecided, 0, "{verified:?}");
        (same + tally.same, different + tally.not_the_same())
    })
}

/// The only finding.
pub fn only(verified: &Verified) -> &Finding {
    assert_eq!(
        (verified.found(), verified.findings.len()),
        (1, 1),
        "{verified:?}"
    );
    &verified.findings[0]
}

/// The component with something behind it that no guest sees: another module.
pub fn again(mut component: Vec<u8>, number: u8) -> Vec<u8> {
    component.extend([0, 3, 1, b'v', number]);
    component
}
