//! Upcasters: old events in their current form.

mod chain;
mod check;
mod run;
mod steps;

pub(crate) use chain::lift;
pub use run::{Parts, Upcasted};
pub use steps::{Lift, Step, Steps};

use crate::driver::FoldError;

/// Lifts the stored events of one category to their current schema versions.
///
/// Stored events never change: they are lifted whenever they are read, and then arrive
/// at [`Decider::evolve`](crate::Decider::evolve) as if they had been written so. A
/// lifted event must depend on the stored event only.
///
/// A step lifts one version of one type to the types and versions that it names. Steps
/// are applied one after the other, as far as they lead. An event whose version has no
/// step is read by the next later step of its type as it is.
///
/// Upcasters are exported with their decider, `decider!(Account, upcasts = AccountUpcasts)`,
/// or are a component of their own: [`upcaster!`](crate::upcaster).
///
/// ```
/// use quipu_guest::testing::{check_steps, lifted};
/// use quipu_guest::{Steps, Upcaster, upcaster};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Named { name: String }
/// #[derive(Serialize)]
/// struct Titled { title: String, length: usize }
///
/// struct BookUpcasts;
///
/// impl Upcaster for BookUpcasts {
///     const CATEGORY: &'static str = "book";
///
///     fn steps() -> Steps {
///         Steps::new()
///             .lift("printed", 1).add_field("copies", 1).rename_field("by", "printer").to(2)
///             .lift("printed", 2).remove_field("colour").to(3)
///             .lift("named", 1).rename_type("titled").map(|old: Named| Titled {
///                 length: old.name.len(),
///                 title: old.name,
///             }).to(1)
///             .lift("lent-and-returned", 1).split(&[("lent", 1), ("returned", 1)], |old: Named, parts| {
///                 parts.push("lent", 1, &old.name);
///                 parts.push("returned", 1, ());
///             })
///             .lift("dusted", 1).drop()
///     }
/// }
///
/// upcaster!("book-upcasts", BookUpcasts);
///
/// check_steps::<BookUpcasts>();
/// lifted::<BookUpcasts>("printed", 1, r#"{"by":"Elzevir"}"#)
///     .to([("printed", 3, r#"{"printer":"Elzevir","copies":1}"#)]);
/// lifted::<BookUpcasts>("named", 1, r#"{"name":"Ethica"}"#)
///     .to([("titled", 1, r#"{"title":"Ethica","length":6}"#)]);
/// lifted::<BookUpcasts>("lent-and-returned", 1, r#"{"name":"Ethica"}"#)
///     .to([("lent", 1, r#""Ethica""#), ("returned", 1, "null")]);
/// lifted::<BookUpcasts>("dusted", 1, "{}").to([]);
/// ```
pub trait Upcaster: 'static {
    /// The category whose events are lifted.
    const CATEGORY: &'static str;

    /// Returns every step, in any order, and the same steps at every call.
    fn steps() -> Steps;
}

/// The steps of a component, of one category or several, in the order in which the host
/// knows them.
#[doc(hidden)]
#[derive(Default)]
pub struct Catalogue(Vec<(&'static str, Step)>);

impl Catalogue {
    /// Adds the steps of `U` after those that are there.
    #[must_use]
    pub fn with<U: Upcaster>(mut self) -> Self {
        let steps = U::steps().into_vec().into_iter();
        self.0.extend(steps.map(|step| (U::CATEGORY, step)));
        self
    }

    pub(crate) fn steps(&self) -> &[(&'static str, Step)] {
        &self.0
    }

    pub(crate) fn step(&self, index: u32) -> Result<&Step, FoldError> {
        let known = self.0.len();
        let step = usize::try_from(index)
            .ok()
            .and_then(|index| self.0.get(index));
        step.map(|(_, step)| step)
            .ok_or_else(|| FoldError::Internal(format!("no step {index}; there are {known}")))
    }
}
