//! The list of commands in `quipu --help`, by purpose.

use std::fmt::Write as _;

use clap::Command;

/// Every command that is not hidden, once.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Author components",
        &[
            "new", "dev", "build", "test", "conform", "inspect", "diff", "doctor", "key", "sign",
        ],
    ),
    (
        "Run a host",
        &[
            "serve",
            "config",
            "status",
            "top",
            "logs",
            "mcp",
            "explain",
            "completions",
            "demo",
        ],
    ),
    ("Write events", &["execute", "append", "proposal"]),
    (
        "Read",
        &[
            "events",
            "event",
            "trace",
            "stream",
            "streams",
            "types",
            "view",
            "rejections",
        ],
    ),
    (
        "Evolve",
        &[
            "preflight",
            "shadow",
            "deploy",
            "rollback",
            "deployments",
            "verify",
            "prune",
        ],
    ),
    (
        "Control access",
        &[
            "token", "whoami", "can", "policy", "audit", "context", "tenant",
        ],
    ),
    (
        "Operate",
        &[
            "projections",
            "projection",
            "subscriptions",
            "subscription",
            "snapshot",
            "archive",
            "restore",
            "truncate",
            "export",
            "import",
            "backup",
            "ship",
            "recover",
            "drill",
            "migrate",
            "accept-loss",
        ],
    ),
];

/// The command line, with its commands in groups.
pub fn grouped(command: Command) -> Command {
    let styles = command.get_styles().clone();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = names().map(str::len).max().unwrap_or_default();
    let mut list = String::new();
    for (group, names) in GROUPS {
        // Writing to a string does not fail.
        _ = writeln!(list, "{header}{group}:{header:#}");
        for name in *names {
            let known = command.find_subcommand(name);
            let about = known.and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let gap = " ".repeat(width - name.len() + 2);
            _ = writeln!(list, "  {literal}{name}{literal:#}{gap}{about}");
        }
        list.push('\n');
    }
    let options = format!("{header}Options:{header:#}");
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{options}\n{{options}}{{after-help}}"
    ))
}

fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(_, names)| names.iter().copied())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let command = Cli::command();
        let known = command.get_subcommands().filter(|it| !it.is_hide_set());
        let mut known: Vec<&str> = known.map(Command::get_name).collect();
        known.sort_unstable();
        let mut listed: Vec<&str> = names().collect();
        listed.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn the_list_fits_a_terminal() {
        let mut command = grouped(Cli::command());
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
            for name in names() {
                assert!(help.contains(&format!("\n  {name}  ")), "{name}\n{help}");
            }
        }
    }
}
