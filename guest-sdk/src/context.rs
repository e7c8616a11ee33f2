/// The data that a decision may depend on in addition to state and command.
///
/// The host records all of it with the commit, so the decision can be replayed.
/// In tests: `Context { command_id: "c-1", ..Context::default() }`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The stream's id without its category: `173688` of `loan-173688`.
    pub key: &'a str,
    /// The idempotency key, chosen by the caller or else by the host. It is the same on every
    /// retry.
    pub command_id: &'a str,
    /// When the host accepted the request, in microseconds since 1970 UTC. It is the only clock. It
    /// is the same on every attempt of one request; a caller's own retry of a command that was
    /// never recorded may see a later time.
    pub accepted_at_us: u64,
    /// 256 random bits, the only source of randomness and new ids. They are derived from the stream
    /// and the command's id, so they are the same on every retry.
    pub seed: [u64; 4],
    /// The members of the caller's metadata, and under `quipu.` the members that the host sets.
    pub annotations: &'a [(String, String)],
}

impl<'a> Context<'a> {
    /// Returns the first annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.annotations.iter().find(|(n, _)| n == name)?;
        Some(value)
    }
}
