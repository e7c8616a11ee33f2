use quipu_tests::golden;

use crate::program::run;

#[test]
fn the_help_equals_the_published_text() {
    let mut text = run(&["--help"]).ok();
    for command in commands(&text) {
        text += &format!("\n\n$ quipu {command} --help\n");
        let help = run(&[&command, "--help"]).ok();
        text += &help;
        for action in actions(&help) {
            text += &format!("\n\n$ quipu {command} {action} --help\n");
            text += &run(&[&command, &action, "--help"]).ok();
        }
    }
    golden::check("help.txt", &text);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// The actions of a command that has its own ones.
fn actions(help: &str) -> Vec<String> {
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let listed = listed.split("\n\n").next().unwrap_or_default();
    let mut names = commands(listed);
    names.retain(|name| name != "help");
    names
}

/// The commands that the help lists. Another test checks that the list is complete.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_list_of_commands_is_in_groups_and_fits_80_columns() {
    let help = run(&["--help"]).ok();
    for heading in [
        "Author components:",
        "Run a host:",
        "Read:",
        "Evolve:",
        "Operate:",
    ] {
        assert!(
            help.lines().any(|line| line == heading),
            "{heading}\n{help}"
        );
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
    assert!(commands(&help).len() > 30, "{help}");
    assert_eq!(run(&["help"]).ok(), help);
    assert_eq!(run(&["-h"]).ok(), help);
}

#[test]
fn the_error_about_a_wrong_address_shows_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "store = \"postgres://ann:s3cret@db/bank\" x\n").unwrap();
    let config = config.display().to_string();
    let out = dir.path().display().to_string();
    let wrong = "mysql://ann:s3cret@db/bank";
    for args in [
        &["serve", "--store", wrong][..],
        &["serve", "--store", "postgres://ann:s3cret/bank"],
        &["serve", "--config", &config],
        &["export", "--store", wrong],
        &["import", "--store", wrong],
        &["backup", "--store", wrong, &out],
        &["migrate", "--store", wrong],
        &["events", "--url", "ftp://ann:s3cret@db/bank"],
    ] {
        let said = run(args);
        assert_eq!(said.code, 2, "{args:?}: {}", said.err);
        assert!(!said.err.contains("s3cret"), "{args:?}: {}", said.err);
    }
    let said = run(&["events", "--url", "http://ann:s3cret@127.0.0.1:1"]);
    assert!(!said.err.contains("s3cret"), "{}", said.err);
    assert!(said.err.contains("http://127.0.0.1:1"), "{}", said.err);
}

#[test]
fn usage_errors_exit_with_2() {
    run(&[]).fails(2, "Usage");
    run(&["no-such"]).fails(2, "no-such");
    run(&["execute", "account-1"]).fails(2, "<TYPE>");
    run(&["execute", "--file", "f", "account-1", "open"]).fails(2, "cannot be used");
    run(&["execute", "account-1", "open", "{"]).fails(2, "not well-formed JSON");
    run(&["serve", "--store", "mysql:x"]).fails(2, "sqlite:PATH");
    run(&["projection", "notes", "explode"]).fails(2, "drop-parked");
    run(&["projection", "notes", "pause", "--hold"]).fails(2, "go with rebuild");
    run(&["projection", "notes", "drop-parked"]).fails(2, "needs --reason");
    run(&["projection", "notes", "parked", "--reason", "x"]).fails(2, "goes with actions");
    run(&["projection", "notes", "--build", "next"]).fails(2, "parked and skipped");
    run(&["view", "notes", "a", "--limit", "1"]).fails(2, "cannot be used");
    run(&["view", "notes", "a", "--timeout", "1"]).fails(2, "--after");
    run(&["view", "notes", ""]).fails(2, "not empty");
    run(&["deploy", "x.wasm", "--projection", "notes"]).fails(2, "NAME=VALUE");
    run(&["deploy", "x.wasm", "--projection", "notes=eager"]).fails(2, "async, inline or live");
    run(&["deploy", "x.wasm", "--on-error", "notes=hope"]).fails(2, "stop, skip or park");
    run(&["events", "--url", "nonsense"]).fails(2, "not an address of a host");
}

#[test]
fn the_completions_name_every_command_and_no_hidden_one() {
    let listed = commands(&run(&["--help"]).ok());
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]).ok();
        for command in &listed {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
        assert!(!script.contains("compile-component"), "{shell}");
    }
    run(&["completions", "tcsh"]).fails(2, "powershell");
}

#[test]
fn bash_completes_commands_and_options() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), run(&["completions", "bash"]).ok()).unwrap();
    for (words, expected) in [("quipu dep", "deploy"), ("quipu stream --js", "--json")] {
        let complete = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _quipu quipu \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo ${{COMPREPLY[@]}}",
            file.path().display()
        );
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", &complete]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let found = text.split_whitespace().any(|it| it == expected);
        assert!(found, "{words}: {text}");
    }
}

#[test]
fn explain_prints_the_page_of_a_code_and_names_the_nearest_one() {
    let page = run(&["explain", "overloaded"]).ok();
    assert!(page.starts_with("# overloaded\n\nStatus 503 "), "{page}");
    assert!(page.contains("\n## What to do\n"), "{page}");
    let rule = run(&["explain", "batching"]).ok();
    assert!(rule.starts_with("# batching\n"), "{rule}");
    // Each code in the list has its page.
    let list = run(&["explain"]).ok();
    let codes: Vec<&str> = list
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(codes.len() > 50, "{list}");
    for code in codes {
        let page = run(&["explain", code]).ok();
        assert!(page.starts_with(&format!("# {code}\n")), "{page}");
    }
    let unknown = run(&["explain", "overload"]);
    unknown.fails(2, "no error code \"overload\"; did you mean overloaded?");
    run(&["explain", "overloaded", "too-large"]).fails(2, "unexpected argument");
}
