use crate::model::Timestamp;

/// What a token may do, as the audit records it. The lists come last, because a long record is cut at
/// its end.
pub fn described(
    name: &str,
    role: &str,
    expires_at: Option<Timestamp>,
    requests_per_second: Option<u32>,
    categories: &[String],
    projections: &[String],
) -> String {
    let mut text = format!("{name:?} {role}");
    match expires_at {
        Some(at) => text += &format!(", expires {at}"),
        None => text += ", never expires",
    }
    if let Some(number) = requests_per_second {
        text += &format!(", {number} requests per second");
    }
    let lists = [("category", categories), ("projection", projections)];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let lists = lists.map(|(what, names)| format!("{what} {}", names.join(", ")));
    let lists: Vec<String> = lists.collect();
    match lists.is_empty() {
        true => text += ", on everything",
        false => text += &format!(", on {}", lists.join("; ")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_limits_a_token_is_named() {
        let text = described("ann", "viewer", None, None, &[], &[]);
        assert_eq!(text, "\"ann\" viewer, never expires, on everything");
        let [note, notes] = ["note", "notes"].map(|name| [name.to_owned()]);
        let text = described("ann", "viewer", None, Some(7), &note, &notes);
        let expected = "\"ann\" viewer, never expires, 7 requests per second, on category note; \
                        projection notes";
        assert_eq!(text, expected);
    }
}
