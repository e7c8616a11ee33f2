//! Parts of an address.

use std::fmt::Write as _;

use axum::extract::Query;

/// A text as a segment of a path, or as a name or a value of a query.
pub fn encoded(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                part.push(char::from(byte));
            }
            // A segment of only dots would change the path.
            byte => _ = write!(part, "%{byte:02X}"),
        }
    }
    part
}

/// A segment of a path as text; as it is, if it is none.
pub fn decoded(part: &str) -> String {
    let uri = format!("/?n={part}").parse();
    let query = uri
        .ok()
        .and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    let first = query.and_then(|query| query.0.into_iter().next());
    first.map_or_else(|| part.to_owned(), |(_, text)| text)
}
