//! Who may call a host, and what was done.

mod audit;
mod can;
mod local;
mod policy;
mod reason;
mod tokens;
mod whoami;

pub use audit::Audit;
pub use can::Can;
pub use local::LocalDeed;
pub use policy::{Policy, load as load_policy};
pub use reason::{Reason, line, with_reason};
pub use tokens::{Token, expiry};
pub use whoami::Whoami;

use quipu_api::GrantView;

/// What a grant allows, in words.
fn reach(grant: &GrantView) -> String {
    let of = |what: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!("{what} {}", names.join(", "))),
    };
    let listed = [
        of("category", &grant.categories),
        of("projection", &grant.projections),
    ];
    let listed: Vec<_> = listed.into_iter().flatten().collect();
    match listed.is_empty() {
        true => "everything".to_owned(),
        false => listed.join("; "),
    }
}
