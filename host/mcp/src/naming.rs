//! Names of the tools of commands.
//!
//! A client remembers a name longer than a plan lasts, and may have the permission of its user for it.
//! So a name never depends on the other commands: it means the same command after every deployment.

use quipu_model::Digest;

/// Longest name of a tool, of which clients accept 64 characters.
const NAME_CHARS_MAX: usize = 64;

/// The name of a tool: `prefix`, category and command, if they can be read from it. Otherwise a name
/// of characters that all clients accept, `-`, and the beginning of a digest of category and command.
pub fn tool_name(prefix: &str, category: &str, command: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let length = prefix.len() + category.len() + 1 + command.len();
    // The category ends at the first `_`, and no such name has a `-`.
    let is_readable = category.chars().all(is_word)
        && command.chars().all(|c| is_word(c) || c == '_')
        && length <= NAME_CHARS_MAX;
    if is_readable {
        return format!("{prefix}{category}_{command}");
    }
    // No category has a `-`.
    let digest = Digest::of(format!("{category}-{command}").as_bytes()).short();
    let name = format!("{category}_{command}");
    let name = name.chars().map(|c| if is_word(c) { c } else { '_' });
    let room = NAME_CHARS_MAX.saturating_sub(prefix.len() + 1 + digest.len());
    let name: String = name.take(room).collect();
    format!("{prefix}{name}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_category_and_command_or_has_their_digest() {
        let long = "x".repeat(48);
        for (category, command, expected) in [
            ("account", "take_out", "command_account_take_out"),
            (
                "account",
                "take out",
                "command_account_take_out-35b943e28467",
            ),
            ("a", "b_c", "command_a_b_c"),
            ("a_b", "c", "command_a_b_c-9a83c37cf5c9"),
            ("account", &long, &*format!("command_account_{long}")),
        ] {
            assert_eq!(tool_name("command_", category, command), expected);
        }
    }

    #[test]
    fn names_differ_and_are_of_characters_that_clients_accept() {
        let (long, longer) = ("x".repeat(49), "x".repeat(255));
        let commands = [
            ("a", "b_c"),
            ("a_b", "c"),
            ("a", "b c"),
            ("a", "b-c"),
            ("a", "b.c"),
            ("a", "b_c-"),
            ("a", "b\u{e9}c"),
            ("", ""),
            ("account", &long),
            ("account", &longer),
            ("account_", &longer),
        ];
        let names = commands.map(|(category, command)| tool_name("propose_", category, command));
        for (index, name) in names.iter().enumerate() {
            let is_accepted = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            assert!(name.chars().all(is_accepted) && name.len() <= 64, "{name}");
            assert!(!names.iter().skip(index + 1).any(|it| it == name), "{name}");
        }
    }
}
