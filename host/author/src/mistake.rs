//! What the readers of files say of a mistake, in words for whoever wrote the file.

use strsim::damerau_levenshtein;

/// Farthest name that is offered in place of an unknown one.
const DISTANCE_MAX: usize = 2;

/// How a reader's text begins, and what is said in its place.
const PLAIN: [(&str, &str); 8] = [
    ("expected sequence start", "expected a list"),
    ("expected mapping start", "expected names with values"),
    ("expected string scalar", "expected a text"),
    ("expected scalar", "expected one value"),
    ("unexpected end of input", "it ends before it is complete"),
    ("invalid bool", "expected true or false"),
    ("invalid u", "expected a whole number"),
    ("invalid i", "expected a whole number"),
];

/// The message of a reader in plain words. An unknown name is followed by the nearest known one.
pub fn plain(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let name = rest.split_once(", set ").map_or(rest, |(name, _)| name);
        return format!("`{name}` is there twice");
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("{rest} is missing");
    }
    if let Some((unknown, known)) = unknown(message) {
        let nearest = known
            .split(", ")
            .map(|name| name.trim_matches('`'))
            .map(|name| (damerau_levenshtein(name, unknown), name))
            .min();
        return match nearest {
            Some((distance, name)) if distance <= DISTANCE_MAX => {
                format!("unknown field `{unknown}`; did you mean `{name}`? There are {known}")
            }
            _ => format!("unknown field `{unknown}`; there are {known}"),
        };
    }
    let known = PLAIN.iter().find(|(begin, _)| message.starts_with(begin));
    known.map_or(message, |(_, plain)| plain).to_owned()
}

/// The unknown name and the list of the known ones.
fn unknown(message: &str) -> Option<(&str, &str)> {
    let (unknown, rest) = message.strip_prefix("unknown field `")?.split_once("`, ")?;
    let known = rest.strip_prefix("expected one of ");
    let known = known.or_else(|| rest.strip_prefix("expected "))?;
    Some((unknown, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_said_in_words_for_its_author() {
        for (message, said) in [
            (
                "unknown field `givn`, expected one of name, given, when",
                "unknown field `givn`; did you mean `given`? There are name, given, when",
            ),
            (
                "unknown field `x`, expected `name` or `entry`",
                "unknown field `x`; there are `name` or `entry`",
            ),
            (
                "duplicate mapping key: name, set DuplicateKeyPolicy in Options if acceptable",
                "`name` is there twice",
            ),
            ("missing field `then`", "`then` is missing"),
            ("expected sequence start", "expected a list"),
            ("invalid u32", "expected a whole number"),
            (
                "unexpected end of input at line 1, column 1",
                "it ends before it is complete",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(plain(message), said);
        }
    }
}
