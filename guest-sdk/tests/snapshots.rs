//! Tests that snapshots, also older ones, equal the state that events fold to.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use quipu_guest::driver::{Driver, FoldError, Snapshot, migrate};
use quipu_guest::testing::{check_guest, migrated};
use quipu_guest::{
    Aggregate, Context, Decider, Events, Guest, Manifest, Migrations, Rejection, aggregate, decider,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Debug, Clone)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Added { item: String, count: i32 },
    Removed(String),
    Cleared,
}

#[derive(Default, Serialize, Deserialize, Clone)]
struct Stock {
    items: BTreeMap<String, i32>,
    changes: u32,
}

impl Stock {
    fn change(&mut self, event: Event) {
        self.changes += 1;
        match event {
            Event::Added { item, count } => {
                let there = self.items.entry(item).or_default();
                *there = there.wrapping_add(count);
            }
            Event::Removed(item) => drop(self.items.remove(&item)),
            Event::Cleared => self.items.clear(),
        }
    }
}

#[derive(Deserialize)]
struct StockV1 {
    items: Vec<(String, i32)>,
}

#[derive(Serialize)]
struct StockV2 {
    items: BTreeMap<String, i32>,
}

fn migrations() -> Migrations {
    Migrations::none()
        .edit(2, 4, |state| state.set("changes", 0))
        .map(1, 2, |old: StockV1| StockV2 {
            items: old.items.into_iter().collect(),
        })
}

#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Functional(Stock);

impl Decider for Functional {
    const CATEGORY: &'static str = "stock";
    const STATE_SCHEMA_VERSION: u32 = 4;
    type Command = Event;
    type Event = Event;

    fn decide(&self, event: Event, _: &Context) -> Result<Vec<Event>, Rejection> {
        Ok(vec![event])
    }

    fn evolve(mut self, event: Event) -> Self {
        self.0.change(event);
        self
    }

    fn migrations() -> Migrations {
        migrations()
    }
}

decider!(Functional);

#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Mutable(Stock);

impl Aggregate for Mutable {
    const CATEGORY: &'static str = "stock";
    const STATE_SCHEMA_VERSION: u32 = 4;
    type Command = Event;
    type Event = Event;

    fn execute(
        &self,
        event: Event,
        _: &Context,
        events: &mut Events<Event>,
    ) -> Result<(), Rejection> {
        events.raise(event);
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        self.0.change(event);
    }

    fn migrations() -> Migrations {
        migrations()
    }
}

aggregate!(Mutable);

fn event() -> impl Strategy<Value = (&'static str, String)> {
    let item = prop_oneof![Just("oil"), Just("é\"\\"), Just("")];
    let quoted = |item: &str| serde_json::to_string(item).unwrap();
    prop_oneof![
        4 => (item.clone(), any::<i32>()).prop_map(move |(item, count)| {
            ("added", format!(r#"{{"item":{},"count":{count}}}"#, quoted(item)))
        }),
        2 => item.prop_map(move |item| ("removed", quoted(item))),
        1 => Just(("cleared", "{}".to_owned())),
    ]
}

/// Checks that the state after all events equals the state that is stored after the events before
/// `cut`, opened, and changed by the other events.
fn cut_at<G: Guest>(events: &[(&str, String)], cut: usize) -> Result<(), TestCaseError> {
    let fold = |mut driver: Driver<G>, events: &[(&str, String)]| {
        for (event_type, body) in events {
            driver.apply(event_type, 1, body).unwrap();
        }
        driver
    };
    let (head, tail) = events.split_at(cut);
    let fresh = || Driver::<G>::open("1", None).unwrap();
    let snapshot = fold(fresh(), head).snapshot().unwrap();
    let resumed = fold(Driver::open("1", Some(&snapshot)).unwrap(), tail);
    let whole = fold(fresh(), events);
    prop_assert_eq!(resumed.snapshot(), whole.snapshot());
    prop_assert_eq!(resumed.view(), whole.view());
    Ok(())
}

proptest! {
    #[test]
    fn a_snapshot_and_what_follows_give_the_state_of_all_events(
        events in proptest::collection::vec(event(), 0..40),
        cut in any::<proptest::sample::Index>(),
    ) {
        let cut = cut.index(events.len() + 1);
        cut_at::<Functional>(&events, cut)?;
        cut_at::<Mutable>(&events, cut)?;
    }
}

fn snapshot(state_schema_version: u32, body: &str) -> Snapshot {
    let body = body.to_owned();
    Snapshot {
        state_schema_version,
        body,
    }
}

#[test]
fn a_migration_is_one_step_to_the_version_that_it_declares() {
    let first = migrate::<Functional>(&snapshot(1, r#"{"items":[["oil",2]]}"#));
    assert_eq!(first, Some(snapshot(2, r#"{"items":{"oil":2}}"#)));
    let second = migrate::<Functional>(&first.unwrap());
    assert_eq!(
        second,
        Some(snapshot(4, r#"{"items":{"oil":2},"changes":0}"#))
    );
    assert_eq!(migrate::<Functional>(&second.unwrap()), None);
}

#[test]
fn a_snapshot_that_cannot_be_migrated_is_none() {
    assert_eq!(migrate::<Mutable>(&snapshot(1, "{}")), None);
    assert_eq!(migrate::<Mutable>(&snapshot(1, "no JSON")), None);
    assert_eq!(migrate::<Mutable>(&snapshot(2, "[]")), None);
    assert_eq!(migrate::<Mutable>(&snapshot(3, "{}")), None);
    assert_eq!(migrate::<Mutable>(&snapshot(5, "{}")), None);
}

#[test]
fn an_older_snapshot_is_opened_only_when_migrated() {
    let old = snapshot(2, r#"{"items":{}}"#);
    let error = Driver::<Mutable>::open("1", Some(&old)).err().unwrap();
    let expected = "snapshot of stock: state schema version 2, expected 4";
    assert_eq!(error, FoldError::BadEvent(expected.to_owned()));
    let stock = migrated::<Mutable>(1, r#"{"items":[["oil",2]]}"#);
    assert_eq!(stock.view(), r#"{"items":{"oil":2},"changes":0}"#);
}

#[test]
fn migrations_reach_the_manifest_in_order() {
    check_guest::<Functional>();
    check_guest::<Mutable>();
    assert_eq!(Manifest::of::<Functional>().migrations, [(1, 2), (2, 4)]);
}
