//! Values for tests, in one line each.

use std::sync::Arc;

use quipu::engine::{Append, AppendAll, StreamAppend};
use quipu::model::{
    Body, Command, CommandId, CommandRecord, Context, Digest, EventId, ExpectedVersion, Name,
    NewEvent, StreamId, Timestamp, Version,
};
use quipu::store::{Activation, Change, Check, Commit, Item, Mark, RunId, StoredSnapshot, Write};

/// A stream's id.
pub fn stream(id: &str) -> StreamId {
    id.parse().unwrap()
}

/// A version.
pub fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version(version))
}

/// An event with a JSON body.
pub fn event(name: &str, json: &str) -> NewEvent {
    NewEvent {
        id: EventId::from_u128(rand::random()),
        id_is_callers: false,
        name: Name::new(name).unwrap(),
        schema_version: 1,
        body: Body::json(json.to_owned()).unwrap(),
        metadata: None,
        tags: Vec::new(),
    }
}

/// This number of events `noted`, numbered from 1.
pub fn events(count: usize) -> Vec<NewEvent> {
    let event = |n| event("noted", &format!("{{\"n\":{n}}}"));
    (1..=count).map(event).collect()
}

/// An event `noted` under an id chosen by the caller.
pub fn given(id: u128, json: &str) -> NewEvent {
    NewEvent {
        id: EventId::from_u128(id),
        id_is_callers: true,
        ..event("noted", json)
    }
}

/// An event `noted` with these tags.
pub fn tagged(tags: &[&str]) -> NewEvent {
    NewEvent {
        tags: tags.iter().map(|tag| Arc::from(*tag)).collect(),
        ..event("noted", "{}")
    }
}

/// A raw append.
pub fn append(events: Vec<NewEvent>) -> Append {
    Append {
        events,
        ..Append::default()
    }
}

/// A raw append under an expected version.
pub fn append_at(expected_version: ExpectedVersion, events: Vec<NewEvent>) -> Append {
    Append {
        expected_version,
        ..append(events)
    }
}

/// A raw append under an idempotency key.
pub fn append_as(id: &str, events: Vec<NewEvent>) -> Append {
    Append {
        id: Some(CommandId::new(id).unwrap()),
        ..append(events)
    }
}

/// A raw append to several streams.
pub fn append_all(parts: Vec<(&str, ExpectedVersion, Vec<NewEvent>)>) -> AppendAll {
    let part = |(to, expected_version, events)| StreamAppend {
        stream: stream(to),
        expected_version,
        events,
    };
    AppendAll {
        streams: parts.into_iter().map(part).collect(),
        ..AppendAll::default()
    }
}

/// A raw append to a category that a decider serves.
pub fn foreign(events: Vec<NewEvent>) -> Append {
    Append {
        into_owned_category: true,
        ..append(events)
    }
}

/// A command without an id.
pub fn command(name: &str, json: &str) -> Command {
    Command::new(name, json.to_owned()).unwrap()
}

/// A command with an id.
pub fn command_as(id: &str, name: &str, json: &str) -> Command {
    command(name, json).with_id(id).unwrap()
}

/// Opens an account.
pub fn open_account() -> Command {
    command("open", r#"{"owner":"ann"}"#)
}

/// Pays in.
pub fn deposit(amount: u64) -> Command {
    command("deposit", &format!("{{\"amount\":{amount}}}"))
}

/// Pays out.
pub fn withdraw(amount: u64) -> Command {
    command("withdraw", &format!("{{\"amount\":{amount}}}"))
}

/// A command as it is recorded.
pub fn record(id: &str) -> CommandRecord {
    CommandRecord {
        id: CommandId::new(id).unwrap(),
        name: Name::new("note").unwrap(),
        schema_version: 1,
        body: Body::empty(),
        metadata: None,
        context: Context::default(),
        accepted_at: Timestamp(1),
        seed: [1, 2, 3, 4],
    }
}

/// A raw commit.
pub fn commit(id: Option<&str>, events: Vec<NewEvent>) -> Commit {
    Commit {
        command: id.map(|id| Arc::new(record(id))),
        decided: None,
        plan: 0,
        recorded_at: Timestamp(1_000),
        events,
        id_is_new: false,
    }
}

/// A write to one stream.
pub fn write(to: &str, expected: ExpectedVersion, commit: Commit) -> Write {
    Write {
        stream: stream(to),
        expected,
        commit,
    }
}

/// An append of these writes.
pub fn item(run: Option<RunId>, writes: Vec<Write>) -> Item {
    Item::Append { run, writes }
}

/// An append of this number of events to one stream.
pub fn noted(to: &str, expected: ExpectedVersion, count: usize) -> Item {
    item(None, vec![write(to, expected, commit(None, events(count)))])
}

/// Archives a stream, or restores it.
pub fn mark(of: &str, archived: bool) -> Item {
    let name = if archived { "archived" } else { "restored" };
    change(of, name, Change::Archived(archived))
}

/// Truncates a stream before a version, with a snapshot at another one.
pub fn truncate(of: &str, before: u64, at: u64) -> Item {
    let anchor = Box::new(snapshot(of, at));
    let before = Version(before);
    change(of, "truncated", Change::Truncated { before, anchor })
}

/// Removes the truncation mark of a stream.
pub fn whole(of: &str) -> Item {
    change(of, "whole", Change::Whole)
}

fn change(of: &str, name: &str, change: Change) -> Item {
    let record = event(name, &serde_json::json!({ "stream": of }).to_string());
    Item::Mark(Mark {
        stream: stream(of),
        change,
        write: write("$streams", ExpectedVersion::Any, commit(None, vec![record])),
    })
}

/// A snapshot of a stream at a version.
pub fn snapshot(of: &str, version: u64) -> StoredSnapshot {
    let state = format!("{{\"n\":{version}}}");
    snapshot_of(of, version, 1, &state)
}

/// A snapshot of a stream at a version, by the fold with this number, with this state.
pub fn snapshot_of(of: &str, version: u64, fold: u8, state: &str) -> StoredSnapshot {
    let body = Body::json(state.to_owned()).unwrap();
    let (of, fold) = (stream(of), Digest([fold; 32]));
    StoredSnapshot::new(&of, Version(version), 1, &body, fold, Timestamp(5_000))
}

/// The activation of a module that changes these categories, checked against this plan.
pub fn activation(digest: Digest, categories: &[&str], plan: u64) -> Activation {
    Activation {
        name: "some".to_owned(),
        digest,
        others: Vec::new(),
        categories: categories.iter().map(|it| (*it).to_owned()).collect(),
        trusted: Vec::new(),
        projections: quipu::store::ProjectionPlan::default(),
        turns: Vec::new(),
        plan,
        at: Timestamp(1),
        by: None,
        preflight: None,
    }
}

/// Checks whether a stream is at a version, or looks up the record of an id.
pub fn check(of: &str, version: Option<u64>, id: Option<&str>) -> Item {
    Item::Check(Check {
        run: None,
        stream: stream(of),
        version: version.map(Version),
        archived: false,
        command_id: id.map(|id| CommandId::new(id).unwrap()),
        plan: None,
    })
}
