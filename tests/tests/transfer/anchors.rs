//! Truncated streams: their marks and anchors in an export.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, Position, Version};
use quipu::store::{Source, Store, StreamInfo};
use quipu::transfer::Export;
use quipu_tests::{Place, build, log, on_every_store};

use crate::random::anchor_line;
use crate::{assert_same, every_kind, exported, import, refused, text, with_anchor_lines};

on_every_store! {
    a_truncated_stream_can_be_imported_into_every_kind_of_store,
    a_truncated_stream_takes_commands_after_an_import,
    an_import_continues_after_a_commit_hidden_by_truncation,
    a_later_mark_replaces_an_earlier_one,
    an_import_is_refused_if_only_the_store_has_a_stream_truncated,
    an_invalid_anchor_is_refused_with_its_line,
    an_anchor_beyond_the_end_of_an_export_is_left_out,
    a_file_of_the_first_format_can_be_imported,
    a_damaged_anchor_is_left_out,
}

/// A store in which streams of 8 events are truncated; one of them is archived, too.
async fn truncated(place: &Place) -> Store {
    let mut store = place.open().await;
    let items = [
        build::noted("note-1", Any, 8),
        build::noted("note-2", Any, 8),
        build::noted("note-3", Any, 8),
        build::truncate("note-1", 4, 6),
        build::truncate("note-3", 8, 8),
        build::mark("note-3", true),
    ];
    store.writer.commit(&items, None).await.unwrap();
    store
}

async fn begun(store: &Store) -> Export {
    let source = Source {
        reader: store.reader.clone(),
        modules: store.modules.clone(),
        snapshots: store.snapshots.clone(),
        documents: store.documents.clone(),
        digests: store.digests.clone(),
    };
    Export::begin(source, Position(0)).await.unwrap()
}

async fn written(mut export: Export) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    file
}

/// The lines of a file that have a type.
fn lines<'a>(file: &'a [u8], kind: &str) -> Vec<&'a str> {
    let kind = format!("\"type\":\"{kind}\"");
    let lines = text(file).lines();
    lines.filter(|line| line.contains(&kind)).collect()
}

async fn listed(host: &quipu::Host) -> Vec<StreamInfo> {
    let filter = quipu::store::StreamFilter {
        archived: quipu::store::ArchivedStreams::With,
        ..Default::default()
    };
    host.streams(None, 99, &filter).await.unwrap().streams
}

async fn a_truncated_stream_can_be_imported_into_every_kind_of_store(place: Place) {
    let store = truncated(&place).await;
    let file = written(begun(&store).await).await;
    assert_eq!(lines(&file, "quipu.anchor").len(), 2);
    assert_eq!(lines(&file, "quipu.stream").len(), 1);
    for target in every_kind() {
        let host = target.host().await;
        let imported = import(&host, &file).await.unwrap();
        assert_eq!((imported.anchors, imported.streams), (2, 1));
        assert_same(&exported(&host).await, &file);
        let marks: Vec<_> = listed(&host).await;
        let marks: Vec<_> = marks
            .iter()
            .map(|it| {
                (
                    it.stream.as_str(),
                    it.truncated_before.0,
                    it.archived_at.is_some(),
                )
            })
            .collect();
        let expected = [
            ("$streams", 0, false),
            ("note-1", 4, false),
            ("note-2", 0, false),
            ("note-3", 8, true),
        ];
        assert_eq!(marks, expected);
        host.shutdown().await.unwrap();
    }
}

async fn a_truncated_stream_takes_commands_after_an_import(place: Place) {
    let source_place = place.another();
    let file = written(begun(&truncated(&source_place).await).await).await;
    let host = place.host().await;
    import(&host, &file).await.unwrap();
    let stream = build::stream("note-1");
    let append = build::append_at(build::exact(8), build::events(1));
    host.append(&stream, append).await.unwrap();
    let shown = log::of(&host, &stream).await;
    let shown: Vec<u64> = shown.iter().map(|it| it.version.0).collect();
    assert_eq!(shown, [4, 5, 6, 7, 8, 9]);
    assert_eq!(log::check(&log::whole(&host).await)[&stream].len(), 9);
}

/// A log that ends with a commit of three events, of which the truncated stream shows only one.
async fn with_hidden_commit(place: &Place) -> (quipu::Host, String) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for count in [2, 3] {
        let append = build::append(build::events(count));
        host.append(&stream, append).await.unwrap();
    }
    let file = exported(&host).await;
    let state = Body::json("[5]").unwrap();
    let anchor = anchor_line("note-1", 5, 5, &state);
    let file = with_anchor_lines(text(&file), &[anchor]);
    (host, file)
}

async fn an_import_continues_after_a_commit_hidden_by_truncation(place: Place) {
    let (source, file) = with_hidden_commit(&Place::memory()).await;
    let host = place.host().await;
    import(&host, file.as_bytes()).await.unwrap();
    let again = import(&host, file.as_bytes()).await.unwrap();
    assert_eq!((again.events, again.skipped, again.anchors), (0, 5, 1));
    source
        .append(&build::stream("note-1"), build::append(build::events(2)))
        .await
        .unwrap();
    let anchors = lines(file.as_bytes(), "quipu.anchor");
    let anchors: Vec<String> = anchors.iter().map(|it| (*it).to_owned()).collect();
    let later = with_anchor_lines(text(&exported(&source).await), &anchors);
    let again = import(&host, later.as_bytes()).await.unwrap();
    assert_eq!((again.events, again.skipped), (2, 5));
    assert_same(&exported(&host).await, later.as_bytes());
}

async fn a_later_mark_replaces_an_earlier_one(place: Place) {
    let (source, file) = with_hidden_commit(&Place::memory()).await;
    let host = place.host().await;
    import(&host, file.as_bytes()).await.unwrap();
    let whole = exported(&source).await;
    for (before, at, state) in [(2, 4, "{}"), (1, 1, "null"), (5, 5, "[1.50]")] {
        let state = Body::json(state).unwrap();
        let anchor = anchor_line("note-1", before, at, &state);
        let file = with_anchor_lines(text(&whole), &[anchor]);
        import(&host, file.as_bytes()).await.unwrap();
        assert_same(&exported(&host).await, file.as_bytes());
    }
}

async fn an_import_is_refused_if_only_the_store_has_a_stream_truncated(place: Place) {
    let (source, file) = with_hidden_commit(&Place::memory()).await;
    let host = place.host().await;
    import(&host, file.as_bytes()).await.unwrap();
    let why = refused(&host, &exported(&source).await).await;
    let expected = "stream note-1 is truncated in it, and whole in the file";
    assert!(why.contains(expected), "{why}");
    assert_same(&exported(&host).await, file.as_bytes());
}

async fn an_invalid_anchor_is_refused_with_its_line(place: Place) {
    let (source, _) = with_hidden_commit(&Place::memory()).await;
    let whole = exported(&source).await;
    let number = text(&whole).lines().count();
    let state = Body::json("[5]").unwrap();
    let line = |of: &str, before, at| anchor_line(of, before, at, &state);
    let good = line("note-1", 2, 3);
    for (anchor, why) in [
        (
            good.replace("[5]", "[6]"),
            "the anchor does not have its checksum",
        ),
        (
            good.replace("\"version\":3", "\"version\":4"),
            "its checksum",
        ),
        (good.replace("note-1", "note-2"), "its checksum"),
        (good.replace("\"before\":2,", ""), "before"),
        (
            good.replace(",\"data\":[5]", ""),
            "data or data_base64 is missing",
        ),
        (
            good.replace("\"before\"", "\"flower\":1,\"before\""),
            "flower",
        ),
        (
            good.replace("\"state_schema_version\":2", "\"state_schema_version\":0"),
            "schema version 0",
        ),
        (good.replace("\"fold\":\"07", "\"fold\":\"7"), "fold"),
        (line("note-1", 0, 3), "is not between"),
        (line("note-1", 4, 3), "is not between"),
        (line("note-1", 5, 6), "is not between"),
        (line("none-1", 1, 1), "there is no stream none-1"),
    ] {
        let place = place.another();
        let host = place.host().await;
        let file = with_anchor_lines(text(&whole), &[anchor]);
        let message = refused(&host, file.as_bytes()).await;
        assert!(message.contains(why), "{message}");
        let named = [
            format!("line {number}: "),
            format!("lines {number} to {number}: "),
        ];
        assert!(named.iter().any(|it| message.starts_with(it)), "{message}");
        // The log was imported, and the whole file continues it.
        let file = with_anchor_lines(text(&whole), std::slice::from_ref(&good));
        import(&host, file.as_bytes()).await.unwrap();
        assert_same(&exported(&host).await, file.as_bytes());
        host.shutdown().await.unwrap();
    }
}

async fn an_anchor_beyond_the_end_of_an_export_is_left_out(place: Place) {
    let mut store = truncated(&place).await;
    let export = begun(&store).await;
    let items = [
        // Its mark moves after the end of the export, so the export shows all of its events.
        build::noted("note-1", Any, 3),
        build::truncate("note-1", 9, 11),
        build::mark("note-3", false),
        build::noted("note-3", Any, 1),
        build::truncate("note-3", 9, 9),
        build::mark("note-3", true),
        // The stream was not truncated when the export began, but the anchor fits.
        build::truncate("note-2", 2, 8),
        build::noted("new-1", Any, 2),
        build::truncate("new-1", 1, 1),
    ];
    store.writer.commit(&items, None).await.unwrap();
    let file = written(export).await;
    let anchors = lines(&file, "quipu.anchor");
    assert_eq!(anchors.len(), 1, "{anchors:?}");
    assert!(anchors[0].contains("\"subject\":\"note-2\""), "{anchors:?}");
    let other = place.another();
    let host = other.host().await;
    import(&host, &file).await.unwrap();
    assert_same(&exported(&host).await, &file);
}

async fn a_file_of_the_first_format_can_be_imported(place: Place) {
    let source_place = place.another();
    let source = source_place.bank().await;
    let stream = build::stream("account-1");
    source
        .execute(&stream, build::open_account())
        .await
        .unwrap();
    let file = exported(&source).await;
    let mut old = text(&file).to_owned();
    for (new, oldest) in [
        ("\"format\":6", "\"format\":1"),
        ("\"dropped\":0,", ""),
        ("\"anchors\":0,", ""),
        (",\"categories\":[\"account\"]", ""),
    ] {
        assert!(old.contains(new), "{new}");
        old = old.replacen(new, oldest, 1);
    }
    let host = place.host().await;
    import(&host, old.as_bytes()).await.unwrap();
    assert_same(&exported(&host).await, &file);
}

async fn a_damaged_anchor_is_left_out(place: Place) {
    let store = truncated(&place).await;
    let file = written(begun(&store).await).await;
    store.writer.close().await.unwrap();
    place
        .tamper("UPDATE snapshots SET data = checksum WHERE version = 6")
        .await;
    let store = place.open().await;
    let damaged = written(begun(&store).await).await;
    let anchors = lines(&file, "quipu.anchor");
    assert_eq!(lines(&damaged, "quipu.anchor"), anchors[1..]);
    let other = place.another();
    let host = other.host().await;
    assert_eq!(import(&host, &damaged).await.unwrap().anchors, 1);
    let head = store.reader.head(&build::stream("note-1")).await.unwrap();
    assert_eq!(head.unwrap().truncated_before, Version(4));
}
