use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What reading the configuration a second time has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Keys of the configuration with a new value that is in force, as `tls.certificate` or `log`.
    pub changed: Vec<String>,
    /// Keys with a new value that applies only after a restart of the host.
    pub restart: Vec<String>,
}
