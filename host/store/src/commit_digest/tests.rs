use super::*;

const GOLDEN: &str = include_str!("../../../../tests/golden/commit-digest.txt");

fn commit<'a>() -> CommitFields<'a> {
    CommitFields {
        stream: "account-1",
        first_version: 7,
        events: 2,
        plan: 3,
        module: Some(&[9; 32]),
        fuel: Some(1_000),
        command_id: Some("k-1"),
        command: Some(b"\x01command"),
    }
}

fn event(tags: &[Arc<str>]) -> EventFields<'_> {
    EventFields {
        id: &[4; 16],
        id_is_callers: true,
        name: "deposited",
        schema_version: 2,
        content_type: "application/json",
        recorded_at: 1_700_000_000_000_000,
        data: br#"{"amount":5}"#,
        metadata: Some(br#"{"a":1}"#),
        tags,
    }
}

fn digest(
    previous: Option<Digest>,
    commit: &CommitFields<'_>,
    events: &[EventFields<'_>],
) -> Digest {
    let mut hasher = CommitHasher::new(&[previous], commit);
    for event in events {
        hasher.event(event);
    }
    hasher.digests().next().unwrap()
}

#[test]
fn the_encoding_of_a_commit_never_changes() {
    let tags: [Arc<str>; 2] = ["vip".into(), "north".into()];
    let plain = EventFields {
        id_is_callers: false,
        metadata: None,
        ..event(&[])
    };
    let mut bytes = Vec::new();
    begin(&mut bytes, Some(Digest([5; 32])), &commit());
    add(&mut bytes, &event(&tags));
    add(&mut bytes, &plain);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let found = digest(Some(Digest([5; 32])), &commit(), &[event(&tags), plain]);
    assert_eq!(found, Digest(blake3::hash(&bytes).into()));
    let lines: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(lines, [hex, found.to_string()]);
}

#[test]
fn every_part_changes_the_digest() {
    let tags: [Arc<str>; 2] = ["a".into(), "bc".into()];
    let others: [Arc<str>; 2] = ["ab".into(), "c".into()];
    let of_commit = |change: fn(&mut CommitFields<'_>)| {
        let mut changed = commit();
        change(&mut changed);
        digest(None, &changed, &[event(&tags)])
    };
    let of_event = |change: fn(&mut EventFields<'_>)| {
        let mut changed = event(&tags);
        change(&mut changed);
        digest(None, &commit(), &[changed])
    };
    let mut digests = vec![
        of_commit(|_| {}),
        of_commit(|it| it.stream = "account-2"),
        of_commit(|it| it.first_version = 8),
        of_commit(|it| it.events = 1),
        of_commit(|it| it.plan = 4),
        of_commit(|it| it.module = None),
        of_commit(|it| it.module = Some(&[8; 32])),
        of_commit(|it| it.fuel = None),
        of_commit(|it| it.fuel = Some(1_001)),
        of_commit(|it| it.command_id = None),
        of_commit(|it| it.command = None),
        of_commit(|it| it.command = Some(b"\x01commanc")),
        of_event(|it| it.id = &[3; 16]),
        of_event(|it| it.id_is_callers = false),
        of_event(|it| it.name = "deposite"),
        of_event(|it| it.schema_version = 1),
        of_event(|it| it.content_type = "text/plain"),
        of_event(|it| it.recorded_at += 1),
        of_event(|it| it.data = br#"{"amount":6}"#),
        of_event(|it| it.metadata = None),
        digest(None, &commit(), &[event(&others)]),
        digest(None, &commit(), &[event(&[])]),
        digest(None, &commit(), &[event(&tags), event(&tags)]),
        digest(None, &commit(), &[]),
        digest(Some(Digest([1; 32])), &commit(), &[event(&tags)]),
    ];
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all);
}
