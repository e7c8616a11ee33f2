//! Administration on an address of its own.

use axum::extract::Request;

use super::App;
use super::access::{Declared, Need};
use super::failure::{Failure, Result};
use quipu::access::Action;
use quipu_api::Code;

/// Which operations an address answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// All of them.
    Everything,
    /// Those of applications. The others have an address of their own.
    Applications,
}

/// Checks that an operation is answered at the address at which it was requested.
///
/// # Errors
/// `forbidden` when administration has an address of its own.
pub(super) fn check(app: &App, declared: &Declared, request: &Request) -> Result<()> {
    let Need::Action(action) = declared.need else {
        return Ok(());
    };
    if serves(app, request) == Serves::Everything || !is_administration(action) {
        return Ok(());
    }
    let detail = format!(
        "{} {} needs the action {action}, which this address does not answer; send it to the \
         address of `admin_listen` in [server]",
        request.method(),
        request.uri().path()
    );
    Err(Failure::new(Code::Forbidden, detail))
}

/// What the address answers at which a request came in.
pub(super) fn serves(app: &App, request: &Request) -> Serves {
    request.extensions().get().copied().unwrap_or(app.serves)
}

/// Refuses what only administration may do at the address of applications.
///
/// # Errors
/// `forbidden` at that address.
pub(super) fn only(serves: Serves, what: &str) -> Result<()> {
    match serves {
        Serves::Everything => Ok(()),
        Serves::Applications => Err(Failure::new(
            Code::Forbidden,
            format!("{what} is answered at the address of `admin_listen` in [server]"),
        )),
    }
}

/// Whether an action runs the store, rather than uses it.
fn is_administration(action: Action) -> bool {
    use Action::{
        Admin, Append, Archive, Command, Deploy, Observe, Operate, Project, Propose, Read,
        ReadPayload, Subscribe, View,
    };
    match action {
        Deploy | Project | Archive | Operate | Observe | Admin => true,
        Read | ReadPayload | Command | Propose | Append | Subscribe | View => false,
    }
}
