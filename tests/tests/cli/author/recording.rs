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
