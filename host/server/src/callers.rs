//! Who sends a request: the holder of a token, of a JSON web token or of a client certificate, or a
//! reader of the console.

use axum::http::{HeaderMap, header};

use super::App;
use super::answering::Visit;
use super::failure::{Failure, Result};
use super::rules::InForce;
use quipu::access::{Caller, Refused, Tokens};
use quipu::engine;
use quipu_api::Code;
use quipu_identity::Identities;

/// A caller whom the console knows. Only this program adds it to its own requests: those of clients
/// have headers, but no such extension.
#[derive(Clone)]
pub struct SignedIn {
    pub caller: Caller,
    /// How often the rules had been replaced when it was known.
    pub changes: u64,
}

impl SignedIn {
    /// Checks that the caller is still known. Rules that were replaced since may know it otherwise,
    /// unless it has a token of the store.
    ///
    /// # Errors
    /// When it is refused now, or the store fails.
    pub async fn check(&self, app: &App) -> Result<()> {
        let caller = &self.caller;
        let is_of_store = caller.token().is_some() || caller.id().is_none();
        if !is_of_store && app.options.rules.changes() != self.changes {
            let why = "who may do what has changed; sign in again";
            return Err(Failure::new(Code::Unauthorized, why));
        }
        let checked = app.host.tokens().recheck(caller).await;
        checked.map_err(|why| refused(app, why.into()))
    }
}

fn refused(app: &App, refused: Unknown) -> Failure {
    match refused {
        Unknown::Refused(Refused::Store(_)) if app.host.is_shut_down() => {
            engine::Error::Overloaded.into()
        }
        other => other.into(),
    }
}

/// Who sends a request to a store.
///
/// # Errors
/// When it has to say who it is and does not, or the store fails.
pub async fn identify(app: &App, headers: &HeaderMap, visit: &Visit) -> Result<Caller> {
    let rules = app.options.rules.current();
    let known = known_by(&rules, app.host.tokens(), bearer(headers)?, visit).await;
    match known {
        Ok(Some(caller)) => Ok(caller),
        Ok(None) if app.access.is_open => Ok(Caller::default()),
        Ok(None) if rules.know_callers() => Err(Refused::Missing.into()),
        Ok(None) => match app.host.tokens().are_used().await {
            Ok(false) => Ok(Caller::default()),
            Ok(true) => Err(Refused::Missing.into()),
            Err(error) => Err(Refused::from(error).into()),
        },
        Err(refused) => Err(refused),
    }
    .map_err(|why| refused(app, why))
}

/// Why it is not known who sends a request.
pub enum Unknown {
    Refused(Refused),
    Token(quipu_identity::Refused),
}

impl From<Refused> for Unknown {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Refused(Refused::Store(error)) => error.into(),
            Unknown::Refused(refused) => Self::new(Code::Unauthorized, refused.to_string()),
            Unknown::Token(refused) if refused.is_unavailable() => {
                Self::new(Code::NotReady, refused.to_string())
            }
            Unknown::Token(refused) => Self::new(Code::Unauthorized, refused.to_string()),
        }
    }
}

/// The caller that a token or a certificate names; none without them. A token counts more than a
/// certificate.
pub async fn known_by(
    rules: &InForce,
    tokens: &Tokens,
    token: Option<&str>,
    visit: &Visit,
) -> std::result::Result<Option<Caller>, Unknown> {
    let identities = &rules.identities;
    let Some(token) = token else {
        let names = visit.names();
        let certified = names.and_then(|names| identities.certified(&names));
        if let Some(caller) = &certified {
            tokens.recheck(caller).await?;
        }
        return Ok(certified);
    };
    if !(identities.take_tokens() && Identities::is_token(token)) {
        return Ok(Some(tokens.authenticate(token).await?));
    }
    if let Some(caller) = identities.remembered(token) {
        return Ok(Some(caller));
    }
    let verified = identities.verify(token).await;
    verified.map(Some).map_err(Unknown::Token)
}

/// The token in `Authorization: Bearer TOKEN`.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let malformed = || {
        Failure::new(
            Code::Unauthorized,
            "the request must have one `Authorization: Bearer TOKEN`",
        )
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let text = value.to_str().map_err(|_| malformed())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(malformed()),
    }
}
