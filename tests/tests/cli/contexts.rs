//! Contexts: hosts that commands reach by a name.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Said, Served, quipu, said, text};

/// Runs commands with a file of contexts and with variables.
struct Person<'a> {
    contexts: String,
    variables: &'a [(&'a str, &'a str)],
}

impl<'a> Person<'a> {
    fn new(dir: &Path) -> Self {
        Self {
            contexts: text(&dir.join("own").join("contexts.toml")),
            variables: &[],
        }
    }

    fn with(&self, variables: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            contexts: self.contexts.clone(),
            variables,
        }
    }

    fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], stdin: &str) -> Said {
        let mut command = quipu(args);
        command.env("QUIPU_CONTEXTS", &self.contexts);
        command.envs(self.variables.iter().copied());
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        said(&child.wait_with_output().unwrap())
    }
}

/// A host with a token of its own.
fn host(name: &str) -> (Served, String) {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let made = host.run(&["token", "create", name, "--role", "admin"]);
    let token = made.ok().trim_end().to_owned();
    (host, token)
}

#[test]
fn a_context_says_where_the_host_is_and_who_calls() {
    let dir = tempfile::tempdir().unwrap();
    let person = Person::new(dir.path());
    let ((one, of_one), (two, of_two)) = (host("ann"), host("bob"));
    let file = dir.path().join("one.token");
    std::fs::write(&file, format!("{of_one}\n")).unwrap();

    assert_eq!(person.run(&["context", "list", "--json"]).ok(), "");
    person
        .run(&["context", "show"])
        .fails(2, "there is no current context");
    let add = ["context", "add", "one", "--url", &one.url];
    person
        .run(&[&add[..], &["--token-file", &text(&file)]].concat())
        .ok();
    let add = ["context", "add", "two", "--url", &two.url, "--token-stdin"];
    person.run_with(&add, &format!("{of_two}\n")).ok();
    person.run_with(&add, &of_two).fails(2, "--replace");

    let whoami = person.run(&["whoami"]).ok();
    assert_eq!(
        whoami,
        format!("\"ann\": admin on everything\ncontext one: {}\n", one.url)
    );
    let named = person.run(&["whoami", "--context", "two", "--json"]).ok();
    let named: Value = serde_json::from_str(&named).unwrap();
    assert_eq!(
        (&named["name"], &named["context"]),
        (&"bob".into(), &"two".into())
    );
    let variable = person.with(&[("QUIPU_CONTEXT", "two")]);
    assert!(variable.run(&["whoami"]).ok().contains("context two"));
    let option = variable.run(&["whoami", "--context", "one"]).ok();
    assert!(option.contains("context one"), "{option}");
    person.run(&["context", "use", "two"]).ok();
    assert!(person.run(&["whoami"]).ok().starts_with("\"bob\""));
    let shown = person.run(&["context", "show"]).ok();
    assert!(shown.starts_with("name: two\nurl: http://"), "{shown}");
    let listed = person.run(&["context", "list"]).ok();
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][..2], ["one", "-"]);
    assert_eq!(rows[2][..2], ["two", "yes"]);

    // No token is in the file, and nobody else reads the one that was given.
    let saved = std::fs::read_to_string(&person.contexts).unwrap();
    let token = Path::new(&person.contexts).with_file_name("two.token");
    for secret in [&of_one, &of_two] {
        assert!(!saved.contains(&secret[20..40]), "{saved}");
    }
    for path in [Path::new(&person.contexts), &token] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }

    person.run(&["context", "remove", "two"]).ok();
    assert!(!token.exists());
    person
        .run(&["status", "--context", "two"])
        .fails(2, "known are one");
    person.run(&["context", "remove", "one"]).ok();
    assert!(file.exists());
    person
        .run(&["context", "use", "one"])
        .fails(2, "there is none");
}

#[test]
fn options_and_variables_take_precedence_over_a_context() {
    let dir = tempfile::tempdir().unwrap();
    let person = Person::new(dir.path());
    let ((one, of_one), (two, of_two)) = (host("ann"), host("bob"));
    let add = ["context", "add", "one", "--url", &one.url, "--token-stdin"];
    person.run_with(&add, &of_one).ok();
    let second = one.run(&[
        "token", "create", "eve", "--role", "viewer", "--token", &of_one,
    ]);
    let second = second.ok().trim_end().to_owned();
    let by_option = person.run(&["whoami", "--token", &second]).ok();
    assert!(by_option.starts_with("\"eve\""), "{by_option}");
    let token = [("QUIPU_TOKEN", &*second)];
    let by_variable = person.with(&token).run(&["whoami"]).ok();
    assert!(by_variable.starts_with("\"eve\""), "{by_variable}");

    // The token of a context is not sent to another host.
    let url = [("QUIPU_URL", &*two.url)];
    let elsewhere = person.with(&url);
    elsewhere.run(&["whoami"]).fails(1, "has no token");
    let known = elsewhere.run(&["whoami", "--token", &of_two]).ok();
    assert_eq!(known, "\"bob\": admin on everything\n");
    let same = [("QUIPU_URL", &*one.url)];
    assert!(
        person
            .with(&same)
            .run(&["whoami"])
            .ok()
            .contains("context one")
    );
}

#[test]
fn a_wrong_context_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let person = Person::new(dir.path());
    let missing = text(&dir.path().join("missing"));
    let url = "http://127.0.0.1:1";
    for (args, said) in [
        (&["../x", "--url", url][..], "the name of a context"),
        (&["x", "--url", "ftp://a"], "not an address of a host"),
        (&["x", "--url", "http://ann:pw@a"], "has a user in it"),
        (
            &["x", "--url", url, "--token-file", &missing],
            "can't be read",
        ),
        (&["x", "--url", url, "--token-stdin"], "must be one line"),
    ] {
        let args = [&["context", "add"], args].concat();
        person.run(&args).fails(2, said);
    }
    assert!(!Path::new(&person.contexts).exists());
    person
        .run(&["status", "--context", "x"])
        .fails(2, "there is none");
    let folder = Path::new(&person.contexts).parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&person.contexts, "current = 1\n").unwrap();
    person.run(&["status"]).fails(2, "not a file of contexts");
    person
        .run(&["status", "--url", url])
        .fails(1, "no context is used");
    std::fs::write(&person.contexts, "current = \"gone\"\n").unwrap();
    person.run(&["status"]).fails(2, "no context \"gone\"");
    let home = text(dir.path());
    let variables = [
        ("QUIPU_CONTEXTS", ""),
        ("XDG_CONFIG_HOME", ""),
        ("HOME", &*home),
    ];
    let at_home = person.with(&variables);
    at_home.run(&["context", "add", "x", "--url", url]).ok();
    assert!(dir.path().join(".config/quipu/contexts.toml").exists());
}
