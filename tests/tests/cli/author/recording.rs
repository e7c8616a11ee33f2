use quipu_tests::coin::coin;

use super::run_in;
use crate::program::Served;

#[test]
fn a_recorded_decision_becomes_a_scenario_that_passes() {
    let host = Served::start();
    let execute = |name: &str, data: &str| {
        host.run(&["execute", "account-1", name, data]).ok();
    };
    execute("open", r#"{"owner":"ann"}"#);
    execute("deposit", r#"{"amount":5}"#);
    execute("withdraw", r#"{"amount":2}"#);
    for (arguments, name) in [
        (
            &["--from", "account-1"][..],
            "withdraw of account-1 at version 3",
        ),
        (
            &["--from", "account-1", "--at-version", "2"],
            "deposit of account-1 at version 2",
        ),
    ] {
        let arguments = [&["test"], arguments].concat();
        let recorded = host.run(&arguments).ok();
        assert!(recorded.contains(name), "{recorded}");
        std::fs::write(host.path("recorded.yaml"), &recorded).unwrap();
        let component = host.path("modules").join("account.wasm");
        let component = component.display().to_string();
        let said = run_in(host.dir.path(), &["test", &component, "recorded.yaml"]);
        assert!(said.ok().contains("1 scenario, 0 failed"));
    }
    let raw = &["append", "sensor-1", "measured", r#"{"celsius":21}"#];
    host.run(raw).ok();
    let said = host.run(&["test", "--from", "sensor-1"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("was appended directly"), "{}", said.err);
    let said = host.run(&["test", "--from", "account-9"]);
    assert!(said.err.contains("stream-not-found"), "{}", said.err);
}

#[test]
fn a_recorded_scenario_keeps_every_digit_and_the_order_of_members() {
    const WEI: &str = "34028236692093846346337460743176821145";
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let component = host.path("coin.wasm").display().to_string();
    std::fs::write(&component, coin()).unwrap();
    host.run(&["deploy", &component]).ok();
    let deposit = format!("{{\"wei\":{WEI}}}");
    for data in [r#"{"wei":7}"#, deposit.as_str()] {
        host.run(&["execute", "coin-1", "deposit", data]).ok();
    }
    let recorded = host.run(&["test", "--from", "coin-1"]).ok();
    assert!(recorded.contains("wei: 7"), "{recorded}");
    assert_eq!(recorded.matches(WEI).count(), 2, "{recorded}");
    std::fs::write(host.path("recorded.yaml"), &recorded).unwrap();
    let said = run_in(host.dir.path(), &["test", &component, "recorded.yaml"]);
    assert!(said.ok().contains("1 scenario, 0 failed"));

    let state = |wei: &str| {
        let text = format!(
            "scenarios:\n  - name: a state\n    given: [{{command: deposit, json: '{deposit}'}}]\n    \
             then: {{state: {{wei: {{$json: '{wei}'}}}}}}\n"
        );
        std::fs::write(host.path("state.yaml"), text).unwrap();
        run_in(host.dir.path(), &["test", &component, "state.yaml"])
    };
    assert!(state(WEI).ok().contains("1 scenario, 0 failed"));
    let other = WEI.replace("1145", "1146");
    let said = state(&other);
    assert_eq!(said.code, 1);
    let line = format!("state /wei: expected {other}, found {WEI}");
    assert!(said.out.contains(&line), "{}", said.out);
}

/// In expectations `$any` fits every value: a recorded one fits only itself.
#[test]
fn a_recorded_text_is_expected_as_it_is() {
    let host = Served::start();
    let open = ["execute", "account-1", "open", r#"{"owner":"$any"}"#];
    host.run(&open).ok();
    let recorded = host.run(&["test", "--from", "account-1"]).ok();
    let component = host.path("modules").join("account.wasm");
    let component = component.display().to_string();
    let test = |scenarios: &str| {
        std::fs::write(host.path("recorded.yaml"), scenarios).unwrap();
        run_in(host.dir.path(), &["test", &component, "recorded.yaml"])
    };
    assert!(test(&recorded).ok().contains("1 scenario, 0 failed"));
    // The command of another owner, with the recorded event.
    let (command, event) = recorded.split_once("then:").unwrap();
    let other = command.replace(r"\\u0024any", "ann");
    let other = other.replace(r"\u0024any", "ann");
    assert_ne!(other, command, "{recorded}");
    let said = test(&format!("{other}then:{event}"));
    assert_eq!(said.code, 1, "{recorded}");
    assert!(
        said.out.contains("event 1 opened: expected"),
        "{}",
        said.out
    );
}
