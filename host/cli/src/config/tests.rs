use std::time::Duration;

use super::*;

#[test]
fn an_unknown_key_is_refused_by_name() {
    for text in ["stor = \"memory:\"", "[engine]\nworker = 2", "[limit]"] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn a_number_with_which_no_host_could_work_is_refused_with_what_is_allowed() {
    let check = |text: &str| toml::from_str::<Config>(text).unwrap().check_numbers();
    for (text, said) in [
        (
            "[engine]\nin_flight_max = 0",
            "engine.in_flight_max is 0; it must be 1 to 1000000",
        ),
        (
            "[guests]\nfuel_per_call = 0",
            "guests.fuel_per_call is 0; it must be 1 or more",
        ),
        (
            "[guests]\noutput_bytes_max = 0",
            "guests.output_bytes_max is 0",
        ),
        (
            "[http]\nrequest_time_max_ms = 0",
            "it must be 1 to 86400000",
        ),
        ("[limits]\nevents_max = 0", "limits.events_max is 0"),
        (
            "[http]\nbody_bytes_max = 1000\nbodies_bytes_max = 268435455",
            "http.bodies_bytes_max is 268435455; it must be 268435456 or more",
        ),
        (
            "[http]\nconnections_max = 0",
            "http.connections_max is 0; it must be 1 to 1000000",
        ),
        (
            "[projections]\nlease_ms = 99",
            "projections.lease_ms is 99; it must be 100",
        ),
    ] {
        let error = check(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let wide = "[guests]\ncomponent_bytes_max = 1000000000";
    let wide: Config = toml::from_str(wide).unwrap();
    assert_eq!(wide.http().bodies_bytes_max, 4_000_000_000);
    let right = "[engine]\nrejections_max = 0\nworkers = 2\n[limits]\ntags_max = 0";
    assert_eq!(check(right), Ok(()));
}

#[test]
fn metadata_that_no_request_may_have_are_refused() {
    let check = |text: &str| toml::from_str::<Config>(text).unwrap().check_metadata();
    let error = check("[metadata]\n\"quipu.principal\" = \"x\"").unwrap_err();
    assert!(error.contains("belong to the host"), "{error}");
    let bounded = "[limits]\nmetadata_bytes_max = 20\n[metadata]\nregion = ";
    assert_eq!(check(&format!("{bounded}\"1234567\"")), Ok(()));
    let error = check(&format!("{bounded}\"12345678\"")).unwrap_err();
    assert!(error.contains("21 bytes, more than 20"), "{error}");
    assert!(toml::from_str::<Config>("[metadata]\nregion = 1").is_err());
}

#[test]
fn an_error_shows_no_address_of_a_store() {
    for text in [
        "listen = \"x\"\nstore = \"postgres://ann:s3cret@db\" x",
        "listen = \"x\"\nstore = postgres://ann:s3cret@db",
        "listen = \"x\"\nstor = \"postgres://ann:s3cret@db\"",
        "listen = \"x\"\nstore = [\"s3cret\"]",
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err();
        let said = shown(text, &error);
        assert!(said.starts_with("line 2: "), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    let text = "[engine]\nworker = 2";
    let error = toml::from_str::<Config>(text).unwrap_err();
    assert!(shown(text, &error).contains("worker = 2"));
}

#[test]
fn what_is_not_named_keeps_its_default() {
    let text = "[engine]\nworkers = 3\nstream_events_max = { loan = 500 }\n\
        [limits]\nevents_max = 7\n[http]\nrequest_time_max_ms = 9\n\
        [projections]\nretry_max_ms = 8";
    let config: Config = toml::from_str(text).unwrap();
    let engine = config.engine();
    assert_eq!((engine.workers, engine.limits.events_max), (3, 7));
    assert_eq!(engine.stream_events_max["loan"], 500);
    let in_flight_max = engine::Options::default().in_flight_max;
    assert_eq!(engine.in_flight_max, in_flight_max);
    assert_eq!(config.guests().decision.events_max, 7);
    assert_eq!(config.http().request_time_max, Duration::from_millis(9));
    let first = projection::Options::default().retry.0;
    assert_eq!(
        config.projections().retry,
        (first, Duration::from_millis(8))
    );
}

/// The page that explains the file lists its keys.
#[test]
fn every_key_of_a_section_is_documented() {
    let page = include_str!("../../../../docs/src/operating/configuration.md");
    for (section, keys) in [
        ("engine", Engine::KEYS),
        ("limits", Limits::KEYS),
        ("guests", Guests::KEYS),
        ("http", Http::KEYS),
        ("subscriptions", Subscriptions::KEYS),
        ("projections", Projections::KEYS),
    ] {
        let (_, text) = page.split_once(&format!("\n## `[{section}]`\n")).unwrap();
        let text = text.split("\n## ").next().unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows = rows.map(|row| row.split_once('`').unwrap().0);
        // A key that is a table is written as one.
        let mut documented: Vec<&str> = rows
            .map(|key| {
                let key = key.trim_matches(['[', ']']);
                key.strip_prefix("engine.").unwrap_or(key)
            })
            .collect();
        documented.sort_unstable();
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        assert_eq!(documented, keys, "[{section}]");
    }
}
