use quipu_tests::probe::{Probe, probe};
use serde_json::{Value, json};

use super::{run_in, with_scenarios};

const RULES: &str = r#"
scenarios:
  - name: a withdrawal above the balance is rejected
    stream: account-7
    given:
      - event: opened
        data: {owner: ann}
      - command: deposit
        data: {amount: 5}
    when: {command: withdraw, data: {amount: 7}}
    then:
      rejected: {code: insufficient-funds, details: {balance: 5}}
      state: {status: open, owner: ann, balance: 5}
  - name: a deposit is added
    given: [{command: open, data: {owner: ann}}]
    when: {command: deposit, json: '{"amount": 5}'}
    then:
      events: [{event: deposited, data: {amount: 5}}]
      state: {status: open, owner: $any, balance: 5}
  - name: an amount that is a word can't be read
    when: {command: deposit, data: {amount: five}}
    then: {invalid_command: five}
"#;

#[test]
fn scenarios_that_hold_pass_and_what_was_never_seen_is_named() {
    let dir = with_scenarios(RULES);
    let said = run_in(dir.path(), &["test", "account.wasm", "rules.yaml"]);
    let out = said.ok();
    assert_eq!(
        out,
        "rules.yaml\n  \
         ok   a withdrawal above the balance is rejected\n  \
         ok   a deposit is added\n  \
         ok   an amount that is a word can't be read\n\n\
         3 scenarios, 0 failed\n\
         commands: 3 of 4 seen; never: account close\n\
         events: 2 of 4 seen; never: account closed, account withdrawn\n\
         rejections: 1 of 6 seen; never: account already-open, account balance-limit,\n\
         \x20 account closed, account invalid-amount, account not-open\n"
    );
    let said = run_in(
        dir.path(),
        &["test", "account.wasm", "rules.yaml", "--complete"],
    );
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("not every declared command"),
        "{}",
        said.err
    );
}

#[test]
fn what_is_not_as_expected_is_named_with_its_place() {
    let dir = with_scenarios(
        r#"
scenarios:
  - name: wrong amounts
    given: [{command: open, data: {owner: ann}}]
    when: {command: deposit, data: {amount: 5}}
    then:
      events: [{event: deposited, data: {amount: 6, by: ann}}]
      state: {status: open, owner: bob, balance: 5}
  - name: other events
    given: [{command: open, data: {owner: ann}}]
    when: {command: deposit, data: {amount: 5}}
    then: {events: [{event: withdrawn}, {event: deposited}]}
  - name: a rejection was expected
    when: {command: open, data: {owner: ann}}
    then: {rejected: not-open}
  - name: what was given is rejected
    given: [{command: deposit, data: {amount: 5}}]
    then: {state: {}}
  - name: an event that nobody knows
    given: [{event: hired}]
    then: {state: {}}
"#,
    );
    let said = run_in(
        dir.path(),
        &[
            "test",
            "account.wasm",
            "rules.yaml",
            "--junit",
            "report.xml",
        ],
    );
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("error: 5 of 5 scenarios failed"),
        "{}",
        said.err
    );
    for line in [
        "  FAIL wrong amounts",
        "         event 1 deposited /amount: expected 6, found 5",
        "         event 1 deposited /by: expected \"ann\", found nothing",
        "         state /owner: expected \"bob\", found \"ann\"",
        "         events: expected withdrawn, deposited, found deposited",
        "         answer: expected rejected as not-open, found accepted with opened",
        "         given 1: command deposit is rejected as not-open: the account has not been opened",
    ] {
        assert!(
            said.out.lines().any(|it| it == line),
            "{line}\n{}",
            said.out
        );
    }
    assert!(said.out.contains("hired"), "{}", said.out);
    let report = std::fs::read_to_string(dir.path().join("report.xml")).unwrap();
    assert!(report.contains("tests=\"5\""), "{report}");
    assert!(report.contains("failures=\"5\""), "{report}");
    assert!(report.contains("a rejection was expected"), "{report}");
}

#[test]
fn events_that_a_projection_does_not_receive_are_named() {
    let given = |then: &str| {
        format!(
            "scenarios:\n  - name: one\n    given: [{{stream: note-1, event: noted, data: {{n: 1}}}}]\n    \
             then: {{documents: {{notes: {then}}}}}\n"
        )
    };
    let notes = |types: &[&str]| {
        let types: Vec<Value> = types.iter().map(|name| json!([name, 1])).collect();
        let sources = json!([{"category": "note", "events": types}]);
        let component = probe("note")
            .breaks("none")
            .event("noted", 1)
            .event("ended", 1);
        component.projection("notes", 1, json!({"sources": sources}))
    };
    let dir = tempfile::tempdir().unwrap();
    let play = |probe: &Probe, then: &str, more: &[&str]| {
        std::fs::write(dir.path().join("note.wasm"), probe.component()).unwrap();
        std::fs::write(dir.path().join("rules.yaml"), given(then)).unwrap();
        let arguments = [&["test", "note.wasm", "rules.yaml"], more].concat();
        run_in(dir.path(), &arguments)
    };
    let none = "         note: projection notes receives none of the events: note noted; its sources \
                take note notd";
    // The scenario may show just that.
    let said = play(&notes(&["notd"]), "{none: null}", &[]);
    let out = said.ok();
    assert!(out.lines().any(|line| line == none), "{out}");
    for line in [
        "sources: 0 of 1 seen; never: notes note notd",
        "note: projection notes names event notd in its sources, which the decider of category note \
         does not declare",
    ] {
        assert!(out.lines().any(|it| it == line), "{line}\n{out}");
    }
    let said = play(&notes(&["notd"]), "{none: null}", &["--complete"]);
    assert_eq!(said.code, 1, "{}", said.out);
    let said = play(&notes(&["notd"]), "{none: {}}", &[]);
    assert_eq!(said.code, 1);
    assert!(said.out.lines().any(|it| it == none), "{}", said.out);
    // A type that is left out on purpose.
    let said = play(&notes(&["noted", "ended"]), "{none: null}", &[]);
    let out = said.ok();
    assert!(!out.contains("note: "), "{out}");
    let line = "sources: 1 of 2 seen; never: notes note ended";
    assert!(out.lines().any(|it| it == line), "{out}");
}

#[test]
fn a_guest_whose_answers_depend_on_how_it_is_called_fails() {
    const NOTES: &str = r#"
scenarios:
  - name: notes
    given:
      - {command: note, json: '[["noted", {"n": 1}]]'}
      - {event: noted, data: {n: 2}}
    when: {command: note, json: '[["noted", {"n": 3}]]'}
    then: {state: $any}
"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yaml"), NOTES).unwrap();
    let play = |probe: Probe| {
        std::fs::write(dir.path().join("note.wasm"), probe.component()).unwrap();
        run_in(dir.path(), &["test", "note.wasm", "rules.yaml"])
    };
    let note = || probe("note").event("noted", 1);
    play(note().breaks("none")).ok();
    let differ = "the answers differ when each event comes in a call of its own and the state goes \
                  through a snapshot; `quipu conform` names the rule";
    let fails = "with each event in a call of its own and the state through a snapshot: ";
    for (probe, text) in [
        (note().breaks("pure"), differ),
        (note().breaks("batching"), differ),
        (note().breaks("snapshot"), differ),
        (note().breaks("none").snapshots("refuse"), fails),
    ] {
        let said = play(probe);
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.out.contains("FAIL notes"), "{}", said.out);
        assert!(said.out.contains(text), "{text}\n{}", said.out);
    }
}

#[test]
fn programs_read_the_results_as_json() {
    let dir = with_scenarios(RULES);
    let said = run_in(
        dir.path(),
        &["test", "account.wasm", "rules.yaml", "--json"],
    );
    let report: Value = serde_json::from_str(&said.ok()).unwrap();
    assert_eq!(report["scenarios"][0]["differences"], json!([]));
    assert_eq!(report["coverage"]["commands"]["declared"], 4);
    assert_eq!(
        report["coverage"]["commands"]["never"],
        json!(["account close"])
    );
}

#[test]
fn a_file_that_is_no_scenario_file_is_refused_with_its_line() {
    for (text, message) in [
        (
            "scenarios:\n  - name: one\n    whne: {command: open}\n    then: {events: []}\n",
            "rules.yaml:3: unknown field `whne`",
        ),
        ("scenarios: [", "rules.yaml:"),
        ("scenarios:\n  - name: [one\n", "rules.yaml:"),
        (
            "scenarios:\n  - {name: one, given: [{event: a, command: b}], then: {state: {}}}\n",
            "rules.yaml:2: scenario \"one\": given 1: name an `event` or a `command`, not both",
        ),
        (
            "scenarios:\n  - {name: one, when: {command: a}, then: {rejected: [a]}}\n",
            "rules.yaml:2: invalid type: sequence, expected a code, or `code`, `message`, `details`",
        ),
        (
            "scenarios:\n  - {name: one, when: {event: a}, then: {events: []}}\n",
            "rules.yaml:2: scenario \"one\": when: name a `command`; events are given",
        ),
        (
            "scenarios:\n  - {name: one, given: [{event: a, seed: [1, 2, 3, 4]}], then: {state: {}}}\n",
            "given 1: `seed` is for commands, not for events",
        ),
        (
            "scenarios:\n  - name: one\n    given:\n      - event: a\n      - event: a\n        \
             command: b\n    then: {state: {}}\n",
            "rules.yaml:5: scenario \"one\": given 2: name an `event` or a `command`, not both",
        ),
        (
            "scenarios:\n  - name: one\n    when:\n      event: a\n    then: {events: []}\n",
            "rules.yaml:4: scenario \"one\": when: name a `command`; events are given",
        ),
        (
            "scenarios:\n  - {name: one, then: {}}\n",
            "rules.yaml:2: scenario \"one\": then: it expects nothing",
        ),
        (
            "scenarios:\n  - {name: one, then: {rejected: not-open}}\n",
            "rules.yaml:2: scenario \"one\": then: `rejected` is the answer to a command",
        ),
        (
            "scenarios:\n  - {name: one, when: {command: open, at: now}, then: {events: []}}\n",
            "time \"now\" is not of the form 2026-01-31T12:00:00Z",
        ),
    ] {
        let dir = with_scenarios(text);
        let said = run_in(dir.path(), &["test", "account.wasm", "rules.yaml"]);
        assert_eq!(said.code, 1, "{text}");
        let printed = format!("{}{}", said.out, said.err);
        assert!(printed.contains(message), "{text}\n{printed}");
    }
    let dir = with_scenarios("");
    let said = run_in(dir.path(), &["test", "account.wasm", "gone.yaml"]);
    assert!(said.err.contains("gone.yaml: No such file"), "{}", said.err);
    let said = run_in(dir.path(), &["test", "account.wasm"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("name the scenario files"), "{}", said.err);
    let said = run_in(dir.path(), &["test"]);
    assert!(said.err.contains("no quipu.toml there"), "{}", said.err);
}

/// A scenario file may come from somebody else.
#[test]
fn no_text_of_a_scenario_controls_the_terminal() {
    let dir = with_scenarios(
        r#"
scenarios:
  - name: "red\e[31m \u202eflow"
    when: {command: open, data: {owner: "\u202eann"}}
    then: {state: {status: "\e[2J"}}
"#,
    );
    let said = run_in(dir.path(), &["test", "account.wasm", "rules.yaml"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.out.contains(r"FAIL red\u{1b}[31m \u{202e}flow"),
        "{}",
        said.out
    );
    let steers = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!said.out.contains(steers), "{:?}", said.out);
    assert!(!said.err.contains(steers), "{:?}", said.err);
}
