//! What a decision may depend on in addition to state and command.

mod chacha;
mod parse;
mod random;
mod time;
mod uuid;

pub use parse::ParseError;
pub use random::Random;
pub use time::Time;
pub use uuid::Uuid;

use std::cell::Cell;

/// The data that a decision may depend on in addition to state and command.
///
/// The host records all of it with the commit, so the decision can be replayed. A decider has no
/// other clock and no other source of randomness or new ids.
///
/// ```
/// use quipu_guest::{Context, Time};
///
/// let annotations = [("quipu.principal".to_owned(), "ann".to_owned())];
/// let context = Context::default()
///     .with_accepted_at("2026-01-01T12:00:00Z".parse()?)
///     .with_seed([1, 2, 3, 4])
///     .with_annotations(&annotations);
/// assert_eq!(context.principal(), Some("ann"));
/// assert_eq!(context.accepted_at().to_string(), "2026-01-01T12:00:00.000000Z");
/// assert_ne!(context.uuid(), context.uuid());
/// assert!(context.random().below(6) < 6);
/// # Ok::<(), quipu_guest::ParseError>(())
/// ```
///
/// The host makes the context. `Context::default()` is an empty one for tests of single functions.
#[derive(Debug, Default)]
pub struct Context<'a> {
    key: &'a str,
    command_id: &'a str,
    accepted_at: Time,
    seed: [u64; 4],
    annotations: &'a [(String, String)],
    /// Number of UUIDs made so far.
    uuids: Cell<u32>,
    /// Number of generators made so far.
    generators: Cell<u32>,
}

impl<'a> Context<'a> {
    /// The stream's id without its category: `173688` of `loan-173688`.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The idempotency key, chosen by the caller or else by the host. It is the same on every
    /// retry.
    pub fn command_id(&self) -> &'a str {
        self.command_id
    }

    /// When the host accepted the request. It is the only clock. It is the same on every attempt
    /// of one request; a caller's own retry of a command that was never recorded may see a later
    /// time.
    pub fn accepted_at(&self) -> Time {
        self.accepted_at
    }

    /// Returns the next UUID, of version 4. It is the same on every retry: the n-th call in a
    /// decision always returns the n-th id of the seed. The seed depends on a secret of the store,
    /// on the stream and on the command's id, so other commands get other ids.
    pub fn uuid(&self) -> Uuid {
        Uuid::from_seed(self.seed, next(&self.uuids))
    }

    /// Returns the next random generator. It gives the same numbers on every retry: the n-th call
    /// in a decision always returns the n-th generator of the seed. Generators do not affect each
    /// other or [`uuid`](Self::uuid).
    pub fn random(&self) -> Random {
        Random::numbered(self.seed, next(&self.generators))
    }

    /// 256 random bits, from which [`uuid`](Self::uuid) and [`random`](Self::random) are made.
    pub fn seed(&self) -> [u64; 4] {
        self.seed
    }

    /// Who sent the command, as the host has verified it: the annotation `quipu.principal`. None
    /// when the host does not know.
    pub fn principal(&self) -> Option<&'a str> {
        self.annotation(PRINCIPAL)
    }

    /// Returns the first annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.annotations.iter().find(|(n, _)| n == name)?;
        Some(value)
    }

    /// The members of the caller's metadata, and under `quipu.` the members that the host sets.
    pub fn annotations(&self) -> &'a [(String, String)] {
        self.annotations
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(self, key: &'a str) -> Self {
        Context { key, ..self }
    }

    /// Sets the id of the command.
    #[must_use]
    pub fn with_command_id(self, command_id: &'a str) -> Self {
        Context { command_id, ..self }
    }

    /// Sets the time at which the request was accepted.
    #[must_use]
    pub fn with_accepted_at(self, accepted_at: Time) -> Self {
        Context {
            accepted_at,
            ..self
        }
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(self, seed: [u64; 4]) -> Self {
        Context { seed, ..self }
    }

    /// Sets all annotations.
    #[must_use]
    pub fn with_annotations(self, annotations: &'a [(String, String)]) -> Self {
        Context {
            annotations,
            ..self
        }
    }
}

/// The annotation in which the host names who sent a command.
pub(crate) const PRINCIPAL: &str = "quipu.principal";

/// Returns the count, and increments it.
fn next(count: &Cell<u32>) -> u32 {
    let number = count.get();
    count.set(number.wrapping_add(1));
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 4] = [1, 2, 3, u64::MAX];

    /// Recorded decisions depend on these values: they must never change.
    #[test]
    fn the_ids_of_a_seed_never_change() {
        let context = Context::default().with_seed(SEED);
        let ids: Vec<_> = (0..3).map(|_| context.uuid().to_string()).collect();
        let expected = [
            "412934c2-e744-4a33-8d38-8f7a3b07c005",
            "75475e96-27a2-47ed-ad31-3f598444d636",
            "f2621654-da57-48a7-bfa6-f9204dc37281",
        ];
        assert_eq!(ids, expected);
        let zero = Context::default();
        assert_eq!(
            zero.uuid().to_string(),
            "3db41d3a-a0d3-4928-9de6-f225e6e24bd5"
        );
    }

    /// Recorded decisions depend on these values: they must never change.
    #[test]
    fn the_generators_of_a_seed_never_change() {
        let context = Context::default().with_seed(SEED);
        let first: Vec<_> = (0..2).map(|_| context.random().u64()).collect();
        assert_eq!(
            first,
            [6_730_408_475_723_047_303, 8_591_601_767_299_261_546]
        );
    }

    #[test]
    fn each_call_gives_the_next_id_and_generator_independently() {
        let context = Context::default().with_seed(SEED);
        let (id, _, next) = (context.uuid(), context.random(), context.uuid());
        assert_ne!(id, next);
        let retry = Context::default().with_seed(SEED);
        assert_eq!((retry.uuid(), retry.uuid()), (id, next));
        let other = Context::default().with_seed([1, 2, 3, 4]);
        assert_ne!(other.uuid(), id);
    }

    #[test]
    fn of_two_annotations_of_one_name_the_first_is_read() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let annotations = [pair("a", "1"), pair("a", "2"), pair(PRINCIPAL, "ann")];
        let context = Context::default().with_annotations(&annotations);
        assert_eq!(context.annotation("a"), Some("1"));
        assert_eq!(context.annotation("b"), None);
        assert_eq!(context.principal(), Some("ann"));
        assert_eq!(Context::default().principal(), None);
    }
}
