use std::path::PathBuf;
use std::time::Duration;

use super::sources::SourceValues;
use super::*;

/// The settings of the text of a file, or the mistakes in it.
fn of_text(text: &str) -> Result<Config, String> {
    of(text, &[], &Flags::default())
}

fn of(text: &str, variables: &[(&str, &str)], flags: &Flags) -> Result<Config, String> {
    let mut found = SourceValues::default();
    found.read_file(Path::new("quipu.toml"), text);
    let variables = variables.iter();
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let more = sources::read(None, variables, flags);
    found.settings.extend(more.settings);
    found.problems.extend(more.problems);
    Config::of(found).map_err(|problems| problems.join("\n"))
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_key() {
    for (text, expected) in [
        (
            "\nstor = \"memory:\"",
            "quipu.toml:2: there is no key stor; the nearest is store",
        ),
        (
            "[engine]\nworker = 2",
            "quipu.toml:2: there is no key engine.worker; the nearest is engine.workers",
        ),
        (
            "http.body_max = 2",
            "quipu.toml:1: there is no key http.body_max; the nearest is http.body_bytes_max",
        ),
        (
            "[http]\nworkers = 2",
            "quipu.toml:2: there is no key http.workers; the nearest is engine.workers",
        ),
        (
            "[limit]",
            "quipu.toml:1: there is no section limit; the nearest is [limits]",
        ),
        (
            "engine = 5",
            "quipu.toml:1: engine is a section: write [engine]",
        ),
        (
            "\"s3cret@db\" = 5",
            "quipu.toml:1: there is no key of this name",
        ),
    ] {
        let error = of_text(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    for (name, expected) in [
        (
            "QUIPU_HTTP__BODY_BYTE_MAX",
            "QUIPU_HTTP__BODY_BYTE_MAX: there is no key http.body_byte_max; \
             the nearest is QUIPU_HTTP__BODY_BYTES_MAX",
        ),
        (
            "QUIPU_HTP__BODY_BYTES_MAX",
            "QUIPU_HTP__BODY_BYTES_MAX: there is no key htp.body_bytes_max; \
             the nearest is QUIPU_HTTP__BODY_BYTES_MAX",
        ),
    ] {
        let error = of("", &[(name, "1")], &Flags::default()).unwrap_err();
        assert_eq!(error, expected);
    }
    // Variables for something else are nobody's mistake.
    for name in [
        "QUIPU_URL",
        "QUIPU_TOKEN",
        "QUIPU_ENGINE",
        "HTTP__X",
        "QUIPU_",
    ] {
        assert!(of("", &[(name, "1")], &Flags::default()).is_ok(), "{name}");
    }
}

#[test]
fn every_mistake_is_reported() {
    let text = "listen = 5\n[http]\nx = 1\nidle_max_ms = 0\n[tls]\nkey = \"k\"";
    let error = of_text(text).unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "quipu.toml:3: there is no key http.x; the nearest is http.hosts",
            "quipu.toml:1: listen: expected a text, found a whole number",
            "quipu.toml:4: http.idle_max_ms is 0; it must be 1 to 86400000",
            "quipu.toml:6: tls.certificate is missing: tls.key needs the certificate, too",
        ]
    );
}

#[test]
fn a_number_with_which_no_host_could_work_is_refused_with_what_is_allowed() {
    for (text, expected) in [
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
            "[guests]\noutput_bytes_max = -1",
            "guests.output_bytes_max: -1 is not a number from 0",
        ),
        (
            "[http]\nrequest_time_max_ms = 0",
            "it must be 1 to 86400000",
        ),
        ("[limits]\nevents_max = 0", "limits.events_max is 0"),
        (
            "[http]\nbody_bytes_max = 1000\nbodies_bytes_max = 268435455",
            "quipu.toml:3: http.bodies_bytes_max is 268435455; it must be 268435456 or more",
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
        let error = of_text(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let wide = of_text("[guests]\ncomponent_bytes_max = 1000000000").unwrap();
    assert_eq!(wide.http().bodies_bytes_max, 4_000_000_000);
    let right = "[engine]\nrejections_max = 0\nworkers = 2\n[limits]\ntags_max = 0";
    assert!(of_text(right).is_ok());
}

#[test]
fn a_value_of_another_kind_is_refused() {
    for (text, expected) in [
        (
            "engine.workers = \"2\"",
            "expected a whole number, found a text",
        ),
        (
            "engine.workers = 2.5",
            "found a number with a decimal point",
        ),
        ("engine.check_purity = 1", "expected true or false"),
        ("listen = []", "expected a text, found a list"),
        ("modules = \"\"", "the path is empty"),
        (
            "keys = [1]",
            "expected a list of texts, as [\"a\", \"b\"], found a list of something else",
        ),
        ("metadata = { a = 1 }", "expected a table of texts"),
        (
            "engine.stream_events_max = { a = \"1\" }",
            "expected a number for each category",
        ),
        (
            "engine.snapshots = 1",
            "expected a policy for each category",
        ),
        ("keys = [\"x\"]", "quipu.toml:1: keys: "),
        ("log = \"quipu=x=y\"", "quipu.toml:1: log is \"quipu=x=y\""),
        ("store = \"mysql:x\"", "quipu.toml:1: store \"mysql:…\""),
    ] {
        let error = of_text(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn metadata_that_no_request_may_have_are_refused() {
    let error = of_text("[metadata]\n\"quipu.principal\" = \"x\"").unwrap_err();
    assert!(error.contains("belong to the host"), "{error}");
    let bounded = "[limits]\nmetadata_bytes_max = 20\n[metadata]\nregion = ";
    assert!(of_text(&format!("{bounded}\"1234567\"")).is_ok());
    let error = of_text(&format!("{bounded}\"12345678\"")).unwrap_err();
    assert!(error.contains("21 bytes, more than 20"), "{error}");
}

#[test]
fn an_error_shows_no_address_of_a_store() {
    for text in [
        "listen = \"x\"\nstore = \"postgres://ann:s3cret@db\" x",
        "listen = \"x\"\nstore = postgres://ann:s3cret@db",
        "listen = \"x\"\nstor = \"postgres://ann:s3cret@db\"",
        "listen = \"x\"\nstore = [\"s3cret\"]",
        "listen = \"x\"\nstore = \"postgre://ann:s3cret@db\"",
        "listen = \"x\"\nlog = \"info\"\n\"postgres://ann:s3cret@db\" = 1",
    ] {
        let error = of_text(text).unwrap_err();
        let is_placed = ["quipu.toml:2: ", "quipu.toml:3: "]
            .iter()
            .any(|place| error.starts_with(place));
        assert!(is_placed, "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = of(
        "",
        &[("QUIPU_STORE", "postgre://ann:s3cret@db")],
        &Flags::default(),
    );
    let error = error.unwrap_err();
    assert!(error.starts_with("QUIPU_STORE: store"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    let error = of_text("[engine]\nworkers = 2 2").unwrap_err();
    assert!(error.contains("quipu.toml:2: "), "{error}");
    assert!(error.ends_with(": workers = 2 2"), "{error}");
    let config = of_text("store = \"postgres://ann:s3cret@db/bank\"").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn what_is_not_named_keeps_its_default() {
    let text = "[engine]\nworkers = 3\nstream_events_max = { loan = 500 }\n\
        validate = { loan = \"enforce\", coin = \"report\", bank = \"off\" }\n\
        [limits]\nevents_max = 7\n[http]\nrequest_time_max_ms = 9\n\
        [projections]\nretry_max_ms = 8";
    let config = of_text(text).unwrap();
    let engine = config.engine();
    assert_eq!((engine.workers, engine.limits.events_max), (3, 7));
    assert_eq!(engine.stream_events_max["loan"], 500);
    let validation = |category: &str| engine.validate[category];
    assert_eq!(validation("loan"), engine::Validation::Enforce);
    assert_eq!(validation("coin"), engine::Validation::Report);
    assert_eq!(validation("bank"), engine::Validation::Off);
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

#[test]
fn a_variable_takes_precedence_over_the_file_and_a_flag_over_both() {
    let text = "listen = \"a:1\"\n[http]\nidle_max_ms = 1\nhead_time_max_ms = 1";
    let variables = [
        ("QUIPU_HTTP__IDLE_MAX_MS", "2"),
        ("QUIPU_LISTEN", "b:2"),
        ("QUIPU_STORE", "memory:"),
        ("QUIPU_MODULES", "\"with \\\"quotes\\\"\""),
        ("QUIPU_KEYS", "[]"),
        ("QUIPU_METADATA", "{ region = \"eu\" }"),
        ("QUIPU_ENGINE__SNAPSHOTS", "{ others = { every = 5 } }"),
        ("QUIPU_ENGINE__CHECK_PURITY", "true"),
        ("QUIPU_CACHE_DIR", ""),
    ];
    let flags = Flags::default().with("listen", "--listen", Some("c:3"));
    let config = of(text, &variables, &flags).unwrap();
    let general = config.general();
    assert_eq!(general.listen, "c:3");
    assert_eq!(general.store.reveal(), "memory:");
    assert_eq!(general.modules, Some(PathBuf::from("with \"quotes\"")));
    assert_eq!(general.metadata["region"], "eu");
    assert_eq!(general.cache_dir, None);
    assert_eq!(config.http().idle_max, Duration::from_millis(2));
    assert_eq!(config.http().head_time_max, Duration::from_millis(1));
    assert!(config.engine().check_purity);
    let sources = [
        ("listen", "flag", "--listen"),
        ("http.idle_max_ms", "environment", "QUIPU_HTTP__IDLE_MAX_MS"),
        ("http.head_time_max_ms", "file", "quipu.toml:4"),
        ("http.body_bytes_max", "default", "default"),
        ("cache_dir", "default", "default"),
    ];
    for (path, name, place) in sources {
        let source = config.source(path);
        assert_eq!((source.name(), &*source.to_string()), (name, place));
    }
    for (name, value, expected) in [
        (
            "QUIPU_HTTP__IDLE_MAX_MS",
            "soon",
            "expected a whole number, found a text",
        ),
        (
            "QUIPU_HTTP__IDLE_MAX_MS",
            "1\nx = 2",
            "expected a whole number, found a text",
        ),
        ("QUIPU_HTTP__HOSTS", "a.example", "expected a list of texts"),
    ] {
        let error = of("", &[(name, value)], &Flags::default()).unwrap_err();
        assert!(error.starts_with(&format!("{name}: http.")), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_validation_that_does_not_exist_is_refused_with_those_that_do() {
    for (given, expected) in [
        (
            "loan = \"on\"",
            "expected \"off\", \"report\" or \"enforce\"",
        ),
        ("Loan = \"enforce\"", "category \"Loan\""),
        ("loan = true", "for each category"),
    ] {
        let text = format!("[engine]\nvalidate = {{ {given} }}");
        let error = of_text(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_address_of_the_store_is_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("store");
    std::fs::write(&secret, "postgres://ann:s3cret@db/bank\n").unwrap();
    let path = secret.display().to_string();
    let in_file = format!("store_file = \"{path}\"");
    let store = |config: Config| config.general().store.reveal().to_owned();
    let none = Flags::default();
    let config = of(&in_file, &[], &none).unwrap();
    assert_eq!(config.source("store").to_string(), "quipu.toml:1");
    for text in [
        toml(&config.in_force(), true),
        json(&config.in_force()).to_string(),
        format!("{config:?}"),
    ] {
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains(&path), "{text}");
    }
    assert_eq!(store(config), "postgres://ann:s3cret@db/bank");
    // The stronger source wins.
    let config = of(&in_file, &[("QUIPU_STORE", "memory:")], &none).unwrap();
    assert_eq!(config.general().store_file, None);
    assert_eq!(store(config), "memory:");
    let by_variable = [("QUIPU_STORE_FILE", &*path)];
    let config = of("store = \"memory:\"", &by_variable, &none).unwrap();
    assert_eq!(store(config), "postgres://ann:s3cret@db/bank");
    let both = format!("store = \"memory:\"\n{in_file}");
    let error = of(&both, &[], &none).unwrap_err();
    assert!(error.contains("exclude each other"), "{error}");
    std::fs::remove_file(&secret).unwrap();
    let error = of(&in_file, &[], &none).unwrap_err();
    assert!(error.starts_with("quipu.toml:1: store_file: "), "{error}");
}

/// What is printed can be read, and means the same.
#[test]
fn what_is_in_force_is_a_file_with_the_same_meaning() {
    let text = "store = \"memory:\"\nlog = \"quipu=debug\"\nkeys = []\n\
        modules = \"tab\\there \\\"x\\\"\"\n[metadata]\n\"a b\" = \"c\"\n[engine]\nworkers = 3\n\
        snapshots = { others = { load_ms = 7 }, loan = { every = 3 } }\n\
        stream_events_max = { loan = 500 }\n[http]\norigins = [\"https://a.example\"]\n";
    let printed = toml(&of_text(text).unwrap().in_force(), false);
    let twice = toml(&of_text(&printed).unwrap().in_force(), true);
    assert!(twice.contains("workers = 3 # quipu.toml:"), "{twice}");
    assert_eq!(toml(&of_text(&printed).unwrap().in_force(), false), printed);
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    let text = reference();
    let set = |without: &[&str]| {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                let name = key.split(' ').next().unwrap();
                if without.contains(&name) { line } else { key }
            }
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    // They exclude each other.
    let config = of_text(&set(&["store_file"])).unwrap();
    for it in config.in_force() {
        let path = it.key.path();
        let is_set = it.source != Source::Default;
        assert!(
            is_set || path == "store_file",
            "{path} is not in the reference"
        );
        let words = it.key.default.is_some();
        let default = Config::default().in_force().into_iter();
        let mut default = default.filter(|other| other.key.path() == path);
        assert!(words || default.next().unwrap().value == it.value, "{path}");
    }
    // As it is, it changes nothing.
    let as_it_is = of_text(&text).unwrap().in_force();
    assert!(as_it_is.iter().all(|it| it.source == Source::Default));
}

#[test]
fn every_key_has_a_description_and_a_variable_of_its_own() {
    let mut variables: Vec<String> = keys().map(Key::variable).collect();
    assert!(keys().count() > 50);
    for key in keys() {
        let description = key.description();
        assert!(
            description.ends_with('.') && description.len() > 10,
            "{}",
            key.path()
        );
    }
    // These have another meaning.
    variables.extend(
        [
            "URL",
            "TOKEN",
            "TOKEN_FILE",
            "CA",
            "CONFIG",
            "LOAN_LOG",
            "SEED",
            "LONG",
            "RENEW",
        ]
        .map(|name| format!("QUIPU_{name}")),
    );
    let all = variables.len();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), all);
}

/// The page that explains the file lists its keys.
#[test]
fn every_key_of_a_section_is_documented() {
    let page = include_str!("../../../../docs/src/operating/configuration.md");
    for (_, keys) in SECTIONS {
        let section = keys[0].section;
        let heading = match section {
            "" => "\n## Keys before the first section\n".to_owned(),
            section => format!("\n## `[{section}]`\n"),
        };
        let (_, text) = page.split_once(&heading).unwrap();
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
        let mut keys: Vec<&str> = keys.iter().map(|key| key.name).collect();
        keys.sort_unstable();
        assert_eq!(documented, keys, "[{section}]");
    }
}

#[test]
fn a_tenant_has_the_share_of_all_tenants_or_its_own() {
    let config = of_text("engine.workers = 8\ntenants.share = 4\n").unwrap();
    let workers = |share| config.of_tenant(share).0.workers;
    assert_eq!([None, Some(2), Some(1_024)].map(workers), [2, 4, 1]);
}
