//! Names that generators of clients can use.

/// A name of a type, such as `LoanSubmit`.
pub fn type_name(parts: &[&str]) -> String {
    let words = words(parts);
    let name: String = words.iter().map(|word| capitalized(word)).collect();
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("T{name}"),
    }
}

/// A name of a function, such as `loan_submit`.
pub fn identifier(parts: &[&str]) -> String {
    let lower = |word: &String| word.to_ascii_lowercase();
    let name: Vec<String> = words(parts).iter().map(lower).collect();
    name.join("_")
}

/// The first of `base`, `base2`, `base3` … that is not taken.
pub fn unique(base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2u64..).map(|number| format!("{base}{number}"));
    let mut names = std::iter::once(base.to_owned()).chain(numbered);
    names
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| base.to_owned())
}

/// A segment of a path.
pub fn percent_encoded(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn words(parts: &[&str]) -> Vec<String> {
    let parts = parts.iter();
    let words = parts.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()));
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1.min(word.len()));
    first.to_ascii_uppercase() + rest
}
