use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, examples};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{Said, quipu, said};

/// A project whose build copies a component, and `quipu dev` in it.
struct Dev {
    dir: TempDir,
    child: Child,
    url: String,
    lines: Receiver<String>,
}

const SCENARIOS: &str = "scenarios:\n  - name: one\n    when: {command: note, json: '[[\"noted\", \
                         {\"n\": 1}]]'}\n    then: {events: [{event: noted}]}\n";

fn note() -> Probe {
    probe("note").event("noted", 1).breaks("none")
}

impl Dev {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        std::fs::create_dir(dir.path().join("scenarios")).unwrap();
        write("scenarios/rules.yaml", SCENARIOS);
        write(
            "quipu.toml",
            "name = \"note\"\nlanguage = \"rust\"\nbuild = 'echo built >> builds; cp source \
             \"$QUIPU_COMPONENT\"'\nwatch = [\"source\"]\n",
        );
        std::fs::write(dir.path().join("source"), note().component()).unwrap();
        Self::start_in(dir, &[])
    }

    fn start_in(dir: TempDir, more: &[&str]) -> Self {
        let mut command = quipu(&["dev", "--listen", "127.0.0.1:0"]);
        command.args(more).current_dir(dir.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                _ = sender.send(line);
            }
        });
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ").expect("it is ready");
        Self {
            url: url.to_owned(),
            dir,
            child,
            lines,
        }
    }

    /// Waits for a line of standard error that contains a text.
    fn until(&self, text: &str) -> String {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < PATIENCE {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) else {
                continue;
            };
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("never {text:?}: {seen:#?}");
    }

    fn run(&self, args: &[&str]) -> Said {
        let mut command = quipu(args);
        said(&command.env("QUIPU_URL", &self.url).output().unwrap())
    }

    /// Replaces the source as a whole, as editors do: a build must not see half of it.
    fn write(&self, probe: &Probe) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, probe.component()).unwrap();
        std::fs::rename(&new, self.dir.path().join("source")).unwrap();
    }

    fn builds(&self) -> usize {
        let builds = std::fs::read_to_string(self.dir.path().join("builds"));
        builds.unwrap_or_default().lines().count()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn every_change_is_served_and_none_is_built_twice() {
    let dev = Dev::start();
    dev.until("note 1.0.0 serves with plan 1");
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":1}]]"#])
        .ok();
    for edit in 2..=21 {
        dev.write(&note().version(&format!("{edit}.0.0")));
        dev.until(&format!("note {edit}.0.0 serves with plan {edit}"));
    }
    // The same contents again, and files that are not watched.
    dev.write(&note().version("21.0.0"));
    std::fs::write(dev.dir.path().join("README.md"), "x").unwrap();
    dev.write(&note().version("22.0.0"));
    dev.until("note 22.0.0 serves");
    assert_eq!(dev.builds(), 22);
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":2}]]"#])
        .ok();
    let said = dev.run(&["stream", "note-1"]);
    assert_eq!(said.ok().matches("noted").count(), 2);
}

#[test]
fn a_failed_step_keeps_the_version_that_serves() {
    let dev = Dev::start();
    dev.until("note 1.0.0 serves with plan 1");
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":1}]]"#])
        .ok();
    let ending = "the module that was active stays active";
    // The build.
    std::fs::write(dev.dir.path().join("source"), "broken").unwrap();
    assert!(dev.until("error: ").ends_with(ending));
    // The scenarios.
    let scenarios = dev.dir.path().join("scenarios/rules.yaml");
    dev.write(&note().version("2.0.0").decides("trap"));
    std::fs::write(&scenarios, SCENARIOS.replace("{\"n\": 1}", "{\"odd\": 1}")).unwrap();
    assert!(dev.until("1 of 1 scenarios failed").ends_with(ending));
    std::fs::write(&scenarios, SCENARIOS).unwrap();
    dev.until("note 2.0.0 serves");
    // The contract.
    dev.write(&note().version("3.0.0").breaks("unchanged"));
    let broken = dev.until("breaks unchanged");
    assert!(
        broken.starts_with("error: note breaks unchanged: "),
        "{broken}"
    );
    // The preflight: the recorded event could no longer be folded.
    dev.write(
        &probe("note")
            .breaks("none")
            .version("4.0.0")
            .event("said", 1),
    );
    std::fs::write(&scenarios, SCENARIOS.replace("noted", "said")).unwrap();
    assert!(dev.until("the preflight objects").ends_with(ending));
    // The project file.
    let manifest = dev.dir.path().join("quipu.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}wacth = []\n")).unwrap();
    assert!(dev.until("unknown field `wacth`").ends_with(ending));
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":2}]]"#])
        .ok();
}

#[test]
fn the_events_stay_until_fresh_asks_for_an_empty_store() {
    let mut dev = Dev::start();
    dev.until("serves with plan 1");
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":1}]]"#])
        .ok();
    let dir = std::mem::replace(&mut dev.dir, tempfile::tempdir().unwrap());
    drop(dev);
    let mut dev = Dev::start_in(dir, &[]);
    dev.until("note 1.0.0 is unchanged and serves");
    assert!(dev.run(&["stream", "note-1"]).ok().contains("noted"));
    let dir = std::mem::replace(&mut dev.dir, tempfile::tempdir().unwrap());
    drop(dev);
    // Without a terminal it does not ask, and deletes nothing.
    let output = quipu(&["dev", "--listen", "127.0.0.1:0", "--fresh"])
        .current_dir(dir.path())
        .output();
    let output = said(&output.unwrap());
    assert_eq!(output.code, 2, "{}", output.err);
    assert!(dir.path().join(".quipu/dev.db").exists());
    let dev = Dev::start_in(dir, &["--fresh", "--yes"]);
    dev.until("note 1.0.0 serves with plan 1");
    assert_ne!(dev.run(&["stream", "note-1"]).code, 0);
}

#[test]
fn a_store_that_a_host_serves_is_not_deleted() {
    let dev = Dev::start();
    dev.until("serves with plan 1");
    let execute = ["execute", "note-1", "note", r#"[["noted",{"n":1}]]"#];
    dev.run(&execute).ok();
    let fresh = |more: &[&str]| {
        let mut command = quipu(&["dev", "--listen", "127.0.0.1:0", "--fresh", "--yes"]);
        command.args(more).current_dir(dev.dir.path());
        said(&command.output().unwrap())
    };
    fresh(&[]).fails(1, "as --store sqlite:other.db");
    // Whoever deleted the lock file may not know that a host serves the store.
    if cfg!(target_os = "linux") {
        std::fs::remove_file(dev.dir.path().join(".quipu/dev.db.lock")).unwrap();
        fresh(&[]).fails(1, "another host has ");
    }
    assert!(dev.run(&["stream", "note-1"]).ok().contains("noted"));
    // Nor is a file that is not a store.
    let notes = dev.dir.path().join("notes.db");
    std::fs::write(&notes, "some notes, which are no database of any program").unwrap();
    fresh(&["--store", "sqlite:notes.db"]).fails(1, "this is no SQLite file");
    assert!(notes.exists());
}

#[test]
fn a_second_one_on_the_same_store_says_what_uses_it() {
    let dev = Dev::start();
    dev.until("serves with plan 1");
    let second = |more: &[&str]| {
        let mut command = quipu(&["dev", "--listen", "127.0.0.1:0"]);
        command.args(more).current_dir(dev.dir.path());
        said(&command.output().unwrap())
    };
    for more in [&[][..], &["--fresh", "--yes"]] {
        let said = second(more);
        let error = "another `quipu dev` or another host has ";
        assert!(said.err.contains(error), "{}", said.err);
        assert!(!said.err.contains("leave out"), "{}", said.err);
        said.fails(1, "as --store sqlite:other.db");
    }
}

#[test]
fn fresh_deletes_nothing_while_the_store_or_the_address_is_in_use() {
    let mut dev = Dev::start();
    dev.until("serves with plan 1");
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":1}]]"#])
        .ok();
    let second = |dev: &Dev, listen: &str| {
        let mut command = quipu(&["dev", "--listen", listen, "--fresh", "--yes"]);
        said(&command.current_dir(dev.dir.path()).output().unwrap())
    };
    second(&dev, "127.0.0.1:0").fails(1, " open; ");
    let address = dev.url.trim_start_matches("http://").to_owned();
    second(&dev, &address).fails(1, "can't listen on");
    // Still stored, and the first one still writes.
    dev.run(&["execute", "note-1", "note", r#"[["noted",{"n":2}]]"#])
        .ok();
    let dir = std::mem::replace(&mut dev.dir, tempfile::tempdir().unwrap());
    drop(dev);
    let dev = Dev::start_in(dir, &[]);
    dev.until("note 1.0.0 is unchanged and serves");
    let events = dev.run(&["stream", "note-1"]).ok();
    assert_eq!(events.matches("noted").count(), 2, "{events}");
}

#[test]
fn a_projection_of_the_same_version_is_named_because_its_documents_stay() {
    let dev = Dev::start();
    dev.until("serves with plan 1");
    let noted = |version: &str, of_projection| {
        let note = note().version(version);
        note.projection("notes", of_projection, json!({}))
    };
    dev.write(&noted("2.0.0", 1));
    dev.until("note 2.0.0 serves with plan 2");
    dev.write(&noted("3.0.0", 1));
    let line = dev.until("projection notes");
    assert!(
        line.starts_with("projection notes still has version 1: its documents stay as they are"),
        "{line}"
    );
    dev.until("note 3.0.0 serves with plan 3");
}

#[test]
fn a_projection_is_developed_next_to_a_decider_that_is_deployed_to_its_host() {
    let dev = Dev::start();
    dev.until("serves with plan 1");
    let account = dev.dir.path().join("account.wasm");
    std::fs::write(&account, examples::account()).unwrap();
    dev.run(&["deploy", &account.display().to_string()]).ok();
    let of_accounts = json!({"sources": [{"category": "account"}]});
    dev.write(&note().version("2.0.0").projection("opened", 1, of_accounts));
    dev.until("note 2.0.0 serves with plan 3");
    let open = ["execute", "account-1", "open", r#"{"owner":"ann"}"#];
    dev.run(&open).ok();
    let document = dev
        .run(&["view", "opened", "account-1", "--after", "1"])
        .ok();
    assert!(document.contains("\"count\":1"), "{document}");
}
