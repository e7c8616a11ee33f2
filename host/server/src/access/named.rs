//! What a request names, and whether it asks for masked payloads.

use axum::RequestExt;
use axum::extract::{Query, RawPathParams, Request};
use axum::http::Uri;

use super::Declared;
use crate::failure::{Failure, Result};
use quipu::model::StreamId;

/// Filters that reveal values of payloads.
const REVEALING: [&str; 2] = ["tag", "not_tag"];

impl Declared {
    /// Whether the answer to a request shows no value of a payload.
    pub(super) fn is_masked(&self, uri: &Uri) -> bool {
        if !self.takes_payload {
            return false;
        }
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return false;
        };
        let mut payloads = pairs.iter().filter(|(name, _)| name == "payload");
        let is_masked = payloads.next().is_some_and(|(_, value)| value == "masked");
        is_masked
            && payloads.next().is_none()
            && !pairs.iter().any(|(name, _)| REVEALING.contains(&&**name))
    }
}

/// What the address of a request names.
#[derive(Default)]
pub(super) struct Named {
    pub streams: Vec<StreamId>,
    pub categories: Vec<String>,
    pub projections: Vec<String>,
}

impl Named {
    pub async fn of(declared: &Declared, path: &str, request: &mut Request) -> Result<Self> {
        let mut named = Self::default();
        let params = request.extract_parts::<RawPathParams>().await;
        let params =
            params.map_err(|rejection| Failure::bad_request(format!("the path: {rejection}")))?;
        let is_projection = path.starts_with("/v1/projections/");
        for (name, value) in &params {
            match name {
                "stream" => named.streams.push(StreamId::new(value)?),
                "category" => named.categories.push(value.to_owned()),
                "projection" => named.projections.push(value.to_owned()),
                "name" if is_projection => named.projections.push(value.to_owned()),
                _ => {}
            }
        }
        if !declared.takes_category {
            return Ok(named);
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let Query(pairs) =
            pairs.map_err(|rejection| Failure::bad_request(format!("the query: {rejection}")))?;
        for (name, value) in pairs {
            match name.as_str() {
                "category" => named.categories.push(value),
                "stream" if declared.takes_stream => named.streams.push(StreamId::new(&value)?),
                _ => {}
            }
        }
        Ok(named)
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.categories.is_empty() && self.projections.is_empty()
    }
}
