use serde::{Deserialize, Serialize};

/// An amount of money.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Money {
    /// Whole units of the currency; zero is possible.
    pub units: u64,
    /// The currency.
    pub currency: Currency,
}

/// Currencies in which the bank lends.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub enum Currency {
    /// Euros.
    #[default]
    #[serde(rename = "EUR")]
    Eur,
}

impl Money {
    /// Creates an amount in euros.
    pub const fn euros(units: u64) -> Self {
        Money {
            units,
            currency: Currency::Eur,
        }
    }
}
