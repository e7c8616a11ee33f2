//! The style, the script and the icon of the console. All are in the program, so it works offline.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use quipu::model::Digest;

/// A file of the console.
type Asset = (&'static str, &'static str, &'static str);

pub const STYLE: &str = "console.css";
pub const SCRIPT: &str = "console.js";
pub const ICON: &str = "icon.svg";

const ASSETS: [Asset; 3] = [
    (
        STYLE,
        "text/css; charset=utf-8",
        include_str!("assets/console.css"),
    ),
    (
        SCRIPT,
        "text/javascript; charset=utf-8",
        include_str!("assets/console.js"),
    ),
    (ICON, "image/svg+xml", include_str!("assets/icon.svg")),
];

/// The digest of all files: with another version of one they have other addresses.
static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let all: String = ASSETS.iter().map(|(_, _, text)| *text).collect();
    Digest::of(all.as_bytes()).short()
});

/// The address of a file.
pub fn path(name: &str) -> String {
    format!("/console/assets/{}/{name}", *DIGEST)
}

/// Answers with a file. A browser may keep it for a year.
pub async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let found = ASSETS.iter().find(|(known, _, _)| *known == name);
    let Some((_, kind, text)) = found.filter(|_| digest == *DIGEST) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    (headers, *text).into_response()
}
