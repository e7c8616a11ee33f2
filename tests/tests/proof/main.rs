//! Re-deciding recorded commands, by hosts on every store.
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod candidates;
mod damage;
mod deploying;
mod digests;
mod examples_of_the_library;
mod refusals;
mod releases;
mod saved;
mod shadows;
mod stored_bytes;
mod swaps;
mod verify;

use quipu::Host;
use quipu::proof::{Finding, Kind, Scope, Verified};

/// The whole history.
pub async fn verified(host: &Host) -> Verified {
    host.verify(&Scope::default(), &mut |_| {}).await.unwrap()
}

/// The number of decisions with the same result, and with a different one.
pub fn decisions(verified: &Verified) -> (u64, u64) {
    let tallies = verified.commands.values();
    tallies.fold((0, 0), |(same, different), tally| {
        assert_eq!(tally.undecided, 0, "{verified:?}");
        (same + tally.same, different + tally.not_the_same())
    })
}

/// The only finding, next to those about digests.
pub fn only(verified: &Verified) -> &Finding {
    let found = others(verified);
    assert_eq!(found.len(), 1, "{verified:?}");
    found[0]
}

/// The findings that are not about digests: a changed byte is always found twice.
pub fn others(verified: &Verified) -> Vec<&Finding> {
    let findings = verified.findings.iter();
    findings.filter(|it| it.kind != Kind::Digest).collect()
}

/// The component with a custom section that the guest does not see: a different module.
pub fn again(mut component: Vec<u8>, number: u8) -> Vec<u8> {
    component.extend([0, 3, 1, b'v', number]);
    component
}
