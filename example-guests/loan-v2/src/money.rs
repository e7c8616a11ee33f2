use serde::{Deserialize, Serialize};

/// An amount of money.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Money {
    /// Whole units of the currency; zero is possible.
    pub units: u64,
    /// What they are units of.
    pub currency: Currency,
}

/// What the bank lends in.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub enum Currency {
    /// Euros.
    #[default]
    #[serde(rename = "EUR")]
    Eur,
}

impl Money {
    /// That many euros.
    pub const fn euros(units: u64) -> Self {
        Money {
            units,
            currency: Currency::Eur,
        }
    }
}
