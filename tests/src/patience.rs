//! How long tests wait for something that is to happen.

use std::time::Duration;

/// The bound of a wait: far longer than anything takes on a slow and busy machine. A test that
/// passes does not wait for so long.
pub const PATIENCE: Duration = Duration::from_secs(240);
