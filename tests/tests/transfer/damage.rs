//! Files that are truncated, damaged or written by another program.

use quipu::Host;
use quipu::model::Position;
use quipu::store::Error;
use quipu::transfer::{FORMAT, LINE_BYTES_MAX};
use quipu_tests::{Place, build, on_every_store, seed};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::{assert_same, exported, import, random, refused, text};

on_every_store! {
    a_file_truncated_at_any_line_is_refused_and_the_whole_file_continues_it,
    a_store_that_is_not_empty_is_refused_and_not_changed,
    the_export_of_a_different_log_is_refused,
    a_decision_without_its_fuel_is_damage_and_not_exported,
}

async fn file(random: &mut StdRng) -> Vec<u8> {
    let file = exported(&random::host(&Place::memory(), random, 30).await).await;
    random::with_marks(&file, random)
}

async fn a_file_truncated_at_any_line_is_refused_and_the_whole_file_continues_it(place: Place) {
    let file = file(&mut seed::random(3)).await;
    let lines: Vec<&str> = text(&file).split_inclusive('\n').collect();
    // Each cut needs a store of its own, which takes a while.
    for cut in (0..lines.len()).step_by(9) {
        let other = place.another();
        let host = other.host().await;
        let part = lines[..cut].concat();
        let failed = import(&host, part.as_bytes()).await.unwrap_err();
        let expected = format!("the file ends after line {cut} without its quipu.end");
        assert!(failed.to_string().starts_with(&expected), "{failed}");
        assert_eq!(failed.imported.head, host.log_head().await.unwrap());
        // Commits are stored completely or not at all.
        let found = exported(&host).await;
        let commits = |file: &str| file.matches("\"type\":\"quipu.commit\"").count();
        let whole = lines[..cut]
            .iter()
            .filter(|line| line.contains("\"stream\":"))
            .count();
        assert!(failed.imported.events as usize <= whole);
        assert!(commits(text(&found)) + 1 >= commits(&part));

        let imported = import(&host, &file).await.unwrap();
        assert_eq!(imported.skipped, failed.imported.events);
        assert_same(&exported(&host).await, &file);
        host.shutdown().await.unwrap();
    }
}

async fn a_store_that_is_not_empty_is_refused_and_not_changed(place: Place) {
    let file = file(&mut seed::random(5)).await;
    for what in ["an event", "a module"] {
        let other = place.another();
        let host = match what {
            "an event" => {
                let host = other.host().await;
                let append = build::append(build::events(1));
                host.append(&build::stream("mine-1"), append).await.unwrap();
                host
            }
            _ => other.bank().await,
        };
        let before = exported(&host).await;
        let why = refused(&host, &file).await;
        assert!(why.contains("a whole export needs an empty store"), "{why}");
        assert_same(&exported(&host).await, &before);
    }
}

async fn the_export_of_a_different_log_is_refused(place: Place) {
    let file = exported(&place.host().await).await;
    let places = (place.another(), place.another());
    let (one, other) = (places.0.host().await, places.1.host().await);
    for host in [&one, &other] {
        import(host, &file).await.unwrap();
        let append = build::append(build::events(2));
        host.append(&build::stream("note-1"), append).await.unwrap();
    }
    let before = exported(&one).await;
    let why = refused(&one, &exported(&other).await).await;
    assert!(why.contains("another event is at position"), "{why}");
    // An earlier export of the same log lacks events that the store has.
    let why = refused(&one, &file).await;
    assert!(why.contains("is not in the file"), "{why}");
    assert_same(&exported(&one).await, &before);
}

async fn a_decision_without_its_fuel_is_damage_and_not_exported(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.shutdown().await.unwrap();
    place
        .tamper("UPDATE events SET fuel = NULL WHERE module_id IS NOT NULL")
        .await;
    let host = place.host().await;
    let mut export = host.export(Position(0)).await.unwrap();
    let error = loop {
        match export.next().await {
            Ok(chunk) => assert!(chunk.is_some(), "it was exported"),
            Err(error) => break error,
        }
    };
    let is_named =
        matches!(&error, Error::Damaged(why) if why.contains("the fuel of a decided commit"));
    assert!(is_named, "{error}");
}

async fn check(host: &Host, line: usize, damaged: &[String], what: &str) {
    let file = damaged.concat();
    match import(host, file.as_bytes()).await {
        Err(failed) => {
            let message = failed.to_string();
            assert!(!message.contains("unexpected answer"), "{message}");
        }
        Ok(_) => panic!("line {line}: {what} was imported: {file}"),
    }
}

#[tokio::test]
async fn a_file_with_any_line_damaged_is_refused() {
    let file = file(&mut seed::random(9)).await;
    let lines: Vec<String> = text(&file)
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    for line in 0..lines.len() {
        let replaced = |by: &str| {
            let mut lines = lines.clone();
            lines[line] = format!("{by}\n");
            lines
        };
        let own = lines[line].trim_end();
        for (by, what) in [
            ("{}", "an object without members"),
            ("[]", "an array"),
            ("", "an empty line"),
            ("\u{0}", "a zero byte"),
            (
                &own[..own.floor_char_boundary(own.len() / 2)],
                "half a line",
            ),
            (&own.replace("\"1.0\"", "\"0.3\""), "another version"),
            (
                &own.replacen("{\"", "{\"flower\":1,\"", 1),
                "an unknown attribute",
            ),
        ] {
            let host = Place::memory().host().await;
            let message = refused(&host, replaced(by).concat().as_bytes()).await;
            let named = format!("line {}: ", line + 1);
            assert!(
                message.starts_with(&named),
                "{what} in line {}: {message}",
                line + 1
            );
        }
        let mut dropped = lines.clone();
        dropped.remove(line);
        check(&Place::memory().host().await, line, &dropped, "a line less").await;
        let mut doubled = lines.clone();
        doubled.insert(line, lines[line].clone());
        check(
            &Place::memory().host().await,
            line,
            &doubled,
            "a line twice",
        )
        .await;
    }
}

#[tokio::test]
async fn an_unknown_kind_of_line_is_refused_with_its_name_and_line() {
    let file = file(&mut seed::random(9)).await;
    let file = text(&file);
    let number = file
        .lines()
        .position(|it| it.contains("quipu.commit"))
        .unwrap();
    let flower = r#"{"specversion":"1.0","id":"f","source":"/v1/export","type":"quipu.flower"}"#;
    let mut lines: Vec<&str> = file.lines().collect();
    lines.insert(number, flower);
    let message = refused(&Place::memory().host().await, lines.join("\n").as_bytes()).await;
    let expected = format!(
        "line {}: this program knows no line of type \"quipu.flower\"",
        number + 1
    );
    assert!(message.starts_with(&expected), "{message}");

    let newer = file.replacen("\"format\":6", "\"format\":7", 1);
    let message = refused(&Place::memory().host().await, newer.as_bytes()).await;
    assert!(message.contains("use a newer program"), "{message}");
}

#[tokio::test]
async fn flipped_bits_are_refused_or_imported_unchanged() {
    for seed in seed::seeds(2) {
        let mut random = seed::random(seed);
        let file = file(&mut random).await;
        // A component is checked by its digest, and makes up most of the file.
        let long = text(&file)
            .lines()
            .position(|line| line.len() > 10_000)
            .unwrap();
        let begin: usize = text(&file)
            .split_inclusive('\n')
            .take(long)
            .map(str::len)
            .sum();
        let end = begin + text(&file).lines().nth(long).unwrap().len();
        for _ in 0..300 {
            let mut flipped = file.clone();
            let mut place = random.random_range(0..flipped.len() - (end - begin));
            if place >= begin {
                place += end - begin;
            }
            flipped[place] ^= 1 << random.random_range(0..8);
            let host = Place::memory().host().await;
            if import(&host, &flipped).await.is_ok() {
                let found = exported(&host).await;
                // Older formats are read, and written in the newest format.
                let newest = format!("\"format\":{FORMAT}");
                let mut flipped = text(&flipped).to_owned();
                for older in 1..FORMAT {
                    flipped = flipped.replacen(&format!("\"format\":{older}"), &newest, 1);
                }
                let lines = text(&found).lines().zip(flipped.lines());
                for (found, flipped) in lines {
                    assert!(is_same(found, flipped), "{flipped} came back as {found}");
                }
            }
        }
    }
}

/// Whether two lines have the same content.
fn is_same(one: &str, other: &str) -> bool {
    let value = |line: &str| serde_json::from_str::<Value>(line).ok();
    one == other || (value(one) == value(other) && value(one).is_some())
}

#[tokio::test]
async fn the_length_of_a_line_is_bounded() {
    let host = Place::memory().host().await;
    let message = refused(&host, &vec![b' '; LINE_BYTES_MAX + 1]).await;
    assert!(
        message.starts_with("line 1: the line has more than"),
        "{message}"
    );
}
