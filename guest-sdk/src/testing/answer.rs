//! What a host checks in the answer of a decider. A host may be configured with other limits.

use std::collections::BTreeSet;

use crate::driver::NewEvent;
use crate::{Aggregate, Guest, Rejection};

const EVENTS_MAX: usize = 1_000;
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Highest number of tags, and of annotations, of an event.
const LABELS_MAX: usize = 64;
/// Longest tag, longest name and value of an annotation, and longest code of a rejection.
const LABEL_BYTES_MAX: usize = 255;
/// Names with this prefix belong to the host.
const RESERVED: &str = "quipu.";

#[track_caller]
pub(super) fn check_events(events: &[NewEvent]) {
    at_most("events", events.len(), EVENTS_MAX);
    for event in events {
        let name = event.event_type;
        at_most(
            &format!("bytes of event {name}"),
            event.body.len(),
            EVENT_BYTES_MAX,
        );
        check_tags(event);
        check_annotations(event);
    }
}

#[track_caller]
fn check_tags(
    NewEvent {
        event_type, tags, ..
    }: &NewEvent,
) {
    at_most(
        &format!("tags of event {event_type}"),
        tags.len(),
        LABELS_MAX,
    );
    for tag in tags {
        let has_name = tag
            .split_once(':')
            .is_some_and(|(name, _)| !name.is_empty());
        assert!(
            has_name && !tag.contains(char::is_control),
            "event {event_type}: tag {tag:?} is not a printable name:value"
        );
        at_most(&format!("bytes of tag {tag}"), tag.len(), LABEL_BYTES_MAX);
    }
}

#[track_caller]
fn check_annotations(event: &NewEvent) {
    let NewEvent {
        event_type,
        annotations,
        ..
    } = event;
    let what = format!("annotations of event {event_type}");
    at_most(&what, annotations.len(), LABELS_MAX);
    let mut seen = BTreeSet::new();
    for (name, value) in annotations {
        assert!(
            !name.is_empty() && !name.starts_with(RESERVED),
            "event {event_type}: annotation {name:?} is empty or begins with {RESERVED}, which \
             belongs to the host"
        );
        assert!(
            seen.insert(name),
            "event {event_type}: annotation {name:?} is given twice"
        );
        let longest = name.len().max(value.len());
        at_most(
            &format!("bytes of annotation {name}"),
            longest,
            LABEL_BYTES_MAX,
        );
    }
}

#[track_caller]
pub(super) fn check_rejection<G: Guest>(rejection: &Rejection) {
    let code = rejection.code();
    assert!(
        !code.is_empty() && !code.contains(char::is_control),
        "the code {code:?} of a rejection is empty or has a control character"
    );
    at_most(
        &format!("bytes of code {code}"),
        code.len(),
        LABEL_BYTES_MAX,
    );
    let declared = <G::Aggregate as Aggregate>::REJECTIONS;
    assert!(
        declared.is_empty() || declared.contains(&code),
        "rejected: {rejection}\nthe code {code} is not declared: add it to REJECTIONS of {}",
        <G::Aggregate as Aggregate>::CATEGORY
    );
    let details = rejection.details_json().unwrap_or_default().len();
    at_most(
        &format!("bytes of the details of {code}"),
        details,
        EVENT_BYTES_MAX,
    );
}

#[track_caller]
pub(super) fn at_most(what: &str, found: usize, max: usize) {
    assert!(found <= max, "{found} {what}, a host accepts at most {max}");
}
