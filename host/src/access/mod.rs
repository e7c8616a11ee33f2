//! Who may do what: tokens, roles and the audit.
//!
//! A caller proves with a token who it is. The token's grant says what the caller may do: a role
//! allows actions, and lists of categories and projections limit them. What changes the store is
//! recorded in the audit.

mod audit;
mod cached;
mod caller;
mod described;
mod error;
mod fixed;
mod grant;
mod secret;
mod tenants;
mod tokens;

pub(crate) use audit::CHECK_PAUSE;
pub use audit::{Audit, Broken, Checked, LOCAL_OPERATOR, chain, check_chain};
pub use caller::{Caller, Identified};
pub use described::described;
pub use error::Error;
pub use grant::{Action, Denied, Grant, LISTED_MAX, Object, Role};
pub use secret::{Secret, is_token, redacted};
pub use tenants::{TENANT_BYTES_MAX, Tenants};
pub use tokens::{Issued, NAME_BYTES_MAX, NewToken, Refused, Tokens};
