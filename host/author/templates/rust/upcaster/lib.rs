//! Lifts stored events of category `{{category}}` to the forms that its readers know.

use quipu_guest::{Steps, Upcaster, upcaster};
use serde::{Deserialize, Serialize};

/// Version 1 of `added`: an amount in whole units.
#[derive(Deserialize)]
struct Added1 {
    amount: u64,
}

/// Version 2: in cents.
#[derive(Serialize)]
struct Added2 {
    cents: u64,
}

pub struct Upcasts;

impl Upcaster for Upcasts {
    const CATEGORY: &'static str = "{{category}}";

    fn steps() -> Steps {
        Steps::new()
            .lift("added", 1)
            .map(|old: Added1| Added2 {
                cents: old.amount.saturating_mul(100),
            })
            .to(2)
    }
}

upcaster!("{{name}}", Upcasts);
