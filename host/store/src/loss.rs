//! Events that a server lost.

use std::fmt;

/// Acknowledged events that the server of the store does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The first position with a lost event, as far as a host knows.
    pub from: u64,
    /// The last position with a lost event that a host knows.
    pub to: u64,
    /// Whether an operator has accepted the loss. The host that says so has to be restarted.
    pub is_accepted: bool,
}

impl Loss {
    /// How many positions may have had an event that is lost.
    pub fn positions(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }

    /// The positions in words.
    pub fn range(&self) -> String {
        match self.from == self.to {
            true => format!("position {}", self.to),
            false => format!("positions {} to {}", self.from, self.to),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = self.range();
        match self.is_accepted {
            false => write!(
                f,
                "acknowledged events at {range} are missing: no host writes until an operator runs \
                 `quipu accept-loss` on the store and restarts the hosts"
            ),
            true => write!(
                f,
                "acknowledged events at {range} were missing, which an operator has accepted: \
                 restart this host, because states in its memory may contain them"
            ),
        }
    }
}
