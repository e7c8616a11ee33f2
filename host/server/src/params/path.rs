//! The parameters of a path.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::query;
use crate::App;
use crate::failure::{Failure, Result};
use quipu::model::{Digest, StreamId};
use quipu_api::Code;

/// The percent-decoded parameters of a path, read into `T`: a struct with a member for each.
pub struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(Failure::bad_request(why(rejection))),
        }
    }
}

/// Why the parameters can't be read. A parameter that is parsed is a number.
fn why(rejection: PathRejection) -> String {
    match rejection {
        PathRejection::FailedToDeserializePathParams(error) => match error.into_kind() {
            ErrorKind::ParseErrorAtKey { key, .. } => {
                format!("the path: `{key}` is not a whole number that is possible here")
            }
            kind => format!("the path: {kind}"),
        },
        rejection => format!("the path: {rejection}"),
    }
}

/// The one parameter of a path.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String> {
    let Segments(segment) = Segments::from_request_parts(parts, state).await?;
    Ok(segment)
}

/// `{stream}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, names("stream"))]
pub struct StreamPath(
    /// The stream
    #[param(value_type = String)]
    pub StreamId,
);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(StreamId::new(&segment(parts, state).await?)?))
    }
}

/// `{digest}`, complete or its first digits.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, names("digest"))]
pub struct DigestPath(
    /// SHA-256 of the component
    #[param(value_type = String)]
    pub Digest,
);

impl FromRequestParts<App> for DigestPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        Ok(Self(digest(app, &segment(parts, app).await?).await?))
    }
}

/// `{position}`.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, names("position"))]
pub struct PositionPath(
    /// The event's position
    pub u64,
);

impl<S: Send + Sync> FromRequestParts<S> for PositionPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(number("position", &segment(parts, state).await?)?))
    }
}

/// `{name}` of a projection.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProjectionPath {
    /// The projection
    pub name: String,
}

/// `{name}` of a deployment.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DeploymentPath {
    /// Name of a manifest
    pub name: String,
}

/// Minimum number of digits that may name a module.
const DIGEST_DIGITS_MIN: usize = 4;

/// A module's digest: all of its 64 digits, or a prefix of at least 4 digits that is unique among
/// the modules of the store.
pub async fn digest(app: &App, text: &str) -> Result<Digest> {
    let is_prefix = (DIGEST_DIGITS_MIN..64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_prefix {
        return Ok(text.parse()?);
    }
    let prefix = text.to_ascii_lowercase();
    let modules = app.host.modules().await?;
    let digests = modules.iter().map(|module| module.digest.to_string());
    let mut named = digests.filter(|digest| digest.starts_with(&prefix));
    match (named.next(), named.count()) {
        (Some(digest), 0) => Ok(digest.parse()?),
        (Some(_), others) => Err(Failure::bad_request(format!(
            "digest {text:?}: {} modules begin with it; give more of its digits",
            others + 1
        ))),
        (None, _) => {
            let detail = format!("no module of the store has a digest that begins with {text:?}");
            Err(Failure::new(Code::ModuleNotFound, detail))
        }
    }
}

/// A number that the databases can store.
pub fn number(name: &str, text: &str) -> Result<u64> {
    let number = query::number(text);
    number.map_err(|why| Failure::bad_request(format!("{name} {why}")))
}
