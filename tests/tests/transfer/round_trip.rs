//! An exported and imported log is the same log.

use quipu::engine::Error;
use quipu::model::{Body, ContentType, Lifecycle, OnError, Position};
use quipu::store::{ArchivedStreams, StreamFilter};
use quipu_tests::{Place, build, log, on_every_store, seed};
use serde_json::Value;

use crate::{assert_same, every_kind, exported, exported_after, import, random, refused, text};

on_every_store! {
    a_random_log_is_imported_byte_for_byte_into_every_kind_of_store,
    an_empty_log_can_be_imported,
    hosts_take_commands_after_an_import,
    gaps_between_positions_are_preserved,
    an_export_ends_at_the_end_of_the_log_when_it_began,
    each_line_is_a_cloud_event,
    a_log_can_be_transferred_in_parts,
    many_events_and_large_commits_can_be_imported,
    settings_of_projections_are_imported,
}

async fn a_random_log_is_imported_byte_for_byte_into_every_kind_of_store(place: Place) {
    for seed in seed::seeds(1) {
        let own = place.another();
        let mut random = seed::random(seed);
        let source = random::host(&own, &mut random, 120).await;
        let file = exported(&source).await;
        assert_same(&exported(&source).await, &file);
        let file = random::with_marks(&file, &mut random);
        for target in every_kind() {
            let host = target.host().await;
            let imported = import(&host, &file).await.unwrap();
            assert_eq!(imported.head, host.log_head().await.unwrap());
            assert_same(&exported(&host).await, &file);
            assert_eq!(log::whole(&host).await, log::whole(&source).await);
            host.shutdown().await.unwrap();
        }
        source.shutdown().await.unwrap();
    }
}

async fn settings_of_projections_are_imported(place: Place) {
    place.bank().await.shutdown().await.unwrap();
    place
        .tamper(
            "UPDATE deployments SET projections = '{\"settings\":{\"totals\":\
             {\"lifecycle\":\"live\",\"on_error\":\"park\"}},\"categories\":[\"note\"]}'",
        )
        .await;
    let source = place.host().await;
    let file = exported(&source).await;
    let other = place.another();
    let host = other.host().await;
    import(&host, &file).await.unwrap();
    assert_same(&exported(&host).await, &file);
    // The file matches the store, whatever else the store knows about its projections.
    import(&source, &file).await.unwrap();
    host.shutdown().await.unwrap();
    let deployments = other.open().await.modules.deployments().await.unwrap();
    let projections = &deployments[0].projections;
    let settings = &projections.settings["totals"];
    assert_eq!(settings.lifecycle, Lifecycle::Live);
    assert_eq!(settings.on_error, OnError::Park);
    assert!(projections.categories.is_empty());
}

async fn an_empty_log_can_be_imported(place: Place) {
    let file = exported(&place.host().await).await;
    assert_eq!(text(&file).lines().count(), 2);
    let other = place.another();
    let host = other.host().await;
    assert_eq!(import(&host, &file).await.unwrap().events, 0);
    assert_same(&exported(&host).await, &file);
}

async fn hosts_take_commands_after_an_import(place: Place) {
    let source = place.bank().await;
    let (account, note) = (build::stream("account-1"), build::stream("note-1"));
    let open = build::command_as("open", "open", r#"{"owner":"ann"}"#);
    let opened = source.execute(&account, open.clone()).await.unwrap();
    let mut events = build::events(2);
    events
        .iter_mut()
        .for_each(|event| event.id_is_callers = true);
    let noted = source.append(&note, build::append(events.clone())).await;
    let noted = noted.unwrap();
    source.archive(&note, Default::default()).await.unwrap();

    let other = place.another();
    let host = other.host().await;
    import(&host, &exported(&source).await).await.unwrap();

    // The same id is the same command, also on an archived stream.
    let again = host.execute(&account, open).await.unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.version, again.position),
        (opened.version, opened.position)
    );
    assert_eq!(again.module, opened.module);
    let again = host.append(&note, build::append(events)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.position, noted.position);
    let refused = host.append(&note, build::append(build::events(1))).await;
    assert!(matches!(refused, Err(Error::Archived(_))), "{refused:?}");
    // The decider is active, and new events are after the imported ones.
    let deposited = host.execute(&account, build::deposit(5)).await.unwrap();
    assert_eq!(deposited.version.0, 2);
    assert!(deposited.position > noted.position);
    let only = StreamFilter {
        archived: ArchivedStreams::Only,
        ..StreamFilter::default()
    };
    let archived = host.streams(None, 10, &only).await.unwrap().streams;
    assert_eq!(
        archived,
        source.streams(None, 10, &only).await.unwrap().streams
    );
    log::check(&log::whole(&host).await);
}

/// The same file with every position multiplied by three.
fn with_holes(file: &str) -> String {
    let mut holes = String::new();
    for line in file.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let tripled = |text: String, before: &str, number: &Value, after: &str| {
            let number = number.as_u64().unwrap();
            let old = format!("{before}{number}{after}");
            assert_eq!(text.matches(&old).count(), 1, "{text}");
            text.replace(&old, &format!("{before}{}{after}", number * 3))
        };
        let line = line.to_owned();
        holes += &match value["type"].as_str().unwrap() {
            _ if value["stream"].is_string() => tripled(
                line,
                "\"position\":",
                &value["position"],
                ",\"schemaversion\"",
            ),
            "quipu.export" | "quipu.end" => tripled(line, "\"head\":", &value["data"]["head"], "}"),
            "quipu.commit" => {
                let id = value["id"].as_str().unwrap().rsplit('.').next().unwrap();
                let position = Value::from(id.parse::<u64>().unwrap());
                tripled(line, "\"id\":\"quipu.commit.", &position, "\"")
            }
            _ => line,
        };
        holes.push('\n');
    }
    holes
}

async fn gaps_between_positions_are_preserved(place: Place) {
    let source = random::host(&Place::memory(), &mut seed::random(7), 60).await;
    let file = with_holes(text(&exported(&source).await));
    let host = place.host().await;
    import(&host, file.as_bytes()).await.unwrap();
    assert_same(&exported(&host).await, file.as_bytes());
    let head = host.log_head().await.unwrap();
    assert_eq!(head.0, source.log_head().await.unwrap().0 * 3);
    let (new, append) = (build::stream("new-1"), build::append(build::events(1)));
    let appended = host.append(&new, append).await.unwrap();
    assert!(appended.position.unwrap() > head);
    log::check(&log::whole(&host).await);
}

async fn an_export_ends_at_the_end_of_the_log_when_it_began(place: Place) {
    let source = random::host(&place, &mut seed::random(11), 40).await;
    let file = exported(&source).await;
    let mut export = source.export(Position(0)).await.unwrap();
    let (old, new) = (build::stream("plain"), build::stream("new-1"));
    _ = source.append(&old, build::append(build::events(3))).await;
    source
        .append(&new, build::append(build::events(3)))
        .await
        .unwrap();
    source.archive(&new, Default::default()).await.unwrap();
    let mut later = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        later.extend_from_slice(&chunk);
    }
    assert_same(&later, &file);
}

async fn each_line_is_a_cloud_event(place: Place) {
    let source = random::host(&place, &mut seed::random(13), 80).await;
    let file = random::with_marks(&exported(&source).await, &mut seed::random(17));
    let mut ids = std::collections::HashSet::new();
    for line in text(&file).lines() {
        assert!(!line.contains('\r'), "{line}");
        let event: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        assert_eq!(event["specversion"], "1.0");
        for name in ["id", "source", "type"] {
            assert!(!event[name].as_str().unwrap().is_empty(), "{line}");
        }
        assert!(
            ids.insert((event["source"].clone(), event["id"].clone())),
            "{line}"
        );
        for (name, value) in event.iter().filter(|(name, _)| *name != "data_base64") {
            let is_lower = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(is_lower && name.len() <= 20, "{name}");
            let is_plain = value.is_string() || value.is_u64() || value.is_boolean();
            assert!(is_plain || name == "data", "{line}");
        }
        assert!(!(event.contains_key("data") && event.contains_key("data_base64")));
    }
    // JSON without line breaks is readable, whatever it contains.
    assert!(
        text(&file).contains("\"data\":{\"a\": 1.50, \"a\":  2}"),
        "no such body"
    );
}

async fn a_log_can_be_transferred_in_parts(place: Place) {
    let source = place.bank().await;
    let stream = build::stream("note-1");
    source
        .append(&stream, build::append(build::events(3)))
        .await
        .unwrap();
    let first = exported(&source).await;
    let middle = source.log_head().await.unwrap().0;
    source
        .append(&stream, build::append(build::events(2)))
        .await
        .unwrap();
    let second = exported_after(&source, middle).await;
    // A part may begin within a commit.
    let third = exported_after(&source, middle - 1).await;

    let other = place.another();
    let host = other.host().await;
    let why = refused(&host, &second).await;
    assert!(why.contains("begins after position"), "{why}");
    import(&host, &first).await.unwrap();
    let imported = import(&host, &second).await.unwrap();
    assert_eq!((imported.events, imported.skipped), (2, 0));
    assert_same(&exported(&host).await, &exported(&source).await);
    let imported = import(&host, &third).await.unwrap();
    assert_eq!((imported.events, imported.skipped), (0, 3));

    // After the last event, a part is empty.
    let head = source.log_head().await.unwrap();
    let nothing = exported_after(&source, head.0).await;
    assert_eq!(import(&host, &nothing).await.unwrap().events, 0);
}

async fn many_events_and_large_commits_can_be_imported(place: Place) {
    let other = place.another();
    let source = other.host().await;
    let large = ContentType::new("application/x-large").unwrap();
    for number in 0..3 {
        let stream = build::stream(&format!("note-{number}"));
        let append = build::append(build::events(900 + number));
        source.append(&stream, append).await.unwrap();
        let mut events = build::events(14);
        for event in &mut events {
            event.body = Body::new(large.clone(), vec![number as u8; 1 << 20]).unwrap();
        }
        source.append(&stream, build::append(events)).await.unwrap();
    }
    let file = exported(&source).await;
    let host = place.host().await;
    let imported = import(&host, &file).await.unwrap();
    assert_eq!(imported.events, 3 * 914 + 3);
    assert!(exported(&host).await == file);
}
