//! Parts of an address.

use std::fmt::Write as _;

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
