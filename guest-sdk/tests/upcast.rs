//! Tests how upcasters lift stored events.

#![allow(clippy::unwrap_used)]

use quipu_guest::driver::FoldError;
use quipu_guest::testing::{check_steps, lifted};
use quipu_guest::{EditError, Steps, Upcaster, upcaster};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Old {
    text: String,
}

#[derive(Serialize)]
struct New {
    words: Vec<String>,
}

#[derive(Deserialize)]
struct Moved {
    from: String,
    to: Option<String>,
}

struct Notes;

impl Upcaster for Notes {
    const CATEGORY: &'static str = "note";

    fn steps() -> Steps {
        Steps::new()
            .lift("written", 1)
            .add_field("lang", "en")
            .rename_field("by", "author")
            .remove_field("pen")
            .to(2)
            .lift("written", 3)
            .edit(|body| match body.take::<u32>("pages")? {
                Some(pages) if pages > 9 => Err(EditError::Unfit(format!("{pages} pages"))),
                pages => body.set("sheets", pages.unwrap_or(2) / 2),
            })
            .to(5)
            .lift("scribbled", 1)
            .map(|old: Old| New {
                words: old.text.split(' ').map(str::to_owned).collect(),
            })
            .rename_type("written-down")
            .to(1)
            .lift("left", 1)
            .rename_type("gone")
            .to(1)
            .lift("moved", 1)
            .add_field("from", "home")
            .split(
                &[("left", 1), ("arrived", 1)],
                |Moved { from, to }, parts| {
                    parts.push("left", 1, from);
                    if let Some(to) = to {
                        parts.push("arrived", 1, to);
                    }
                },
            )
            .lift("seen", 1)
            .drop()
    }
}

upcaster!("note-upcasts", Notes);

#[test]
fn a_host_would_take_these_steps() {
    check_steps::<Notes>();
}

#[test]
fn fields_are_added_renamed_and_removed() {
    let lift = |body| lifted::<Notes>("written", 1, body);
    lift(r#"{"by":"a","pen":1,"id":123456789012345678901234567890}"#).to([(
        "written",
        5,
        r#"{"author":"a","id":123456789012345678901234567890,"lang":"en","sheets":1}"#,
    )]);
    // A field that exists is not replaced, and a field that is missing is not an error.
    lift(r#"{"lang":"fr","pages":8}"#).to([("written", 5, r#"{"lang":"fr","sheets":4}"#)]);
    lift("null").to([("written", 5, r#"{"lang":"en","sheets":1}"#)]);
}

#[test]
fn a_missing_step_is_the_identity() {
    for version in [2, 3] {
        lifted::<Notes>("written", version, r#"{"pages":4}"#).to([(
            "written",
            5,
            r#"{"sheets":2}"#,
        )]);
    }
    for version in [4, 5, 6] {
        lifted::<Notes>("written", version, "[]").to([("written", version, "[]")]);
    }
    lifted::<Notes>("unheard-of", 7, "true").to([("unheard-of", 7, "true")]);
}

#[test]
fn a_body_is_mapped_and_its_type_renamed() {
    lifted::<Notes>("scribbled", 1, r#"{"text":"a b"}"#).to([(
        "written-down",
        1,
        r#"{"words":["a","b"]}"#,
    )]);
}

#[test]
fn one_event_becomes_several_or_none() {
    let lift = |body| lifted::<Notes>("moved", 1, body);
    // Each part is lifted further by the steps of its own type.
    lift(r#"{"from":"a","to":"b"}"#).to([("gone", 1, r#""a""#), ("arrived", 1, r#""b""#)]);
    lift("{}").to([("gone", 1, r#""home""#)]);
    lifted::<Notes>("seen", 1, "not read").to([]);
}

#[test]
fn a_misfit_is_reported_with_type_and_version() {
    let check = |event_type, version, body: &str, expected: &str| {
        let error = lifted::<Notes>(event_type, version, body).failed();
        assert_eq!(error, FoldError::BadEvent(expected.to_owned()));
    };
    check(
        "written",
        1,
        r#"{"pages":12}"#,
        "event written of schema version 2: 12 pages",
    );
    check(
        "written",
        3,
        r#"{"pages":"x"}"#,
        "event written of schema version 3: field pages: invalid type: string \"x\", expected \
         u32 at line 1 column 3",
    );
    check(
        "scribbled",
        1,
        "{}",
        "event scribbled of schema version 1: body does not fit: missing field `text` at line 1 \
         column 2",
    );
    let error = lifted::<Notes>("written", 1, "[]").failed();
    assert!(
        error.to_string().contains("expected a JSON object"),
        "{error}"
    );
}

struct Careless;

impl Upcaster for Careless {
    const CATEGORY: &'static str = "note";

    fn steps() -> Steps {
        let split = Steps::new().lift("moved", 1);
        split.split(&[("left", 1), ("arrived", 2)], |version: u32, parts| {
            parts.push("left", 1, ());
            parts.push("arrived", version, ());
        })
    }
}

#[test]
fn an_undeclared_part_is_a_fault_of_the_guest() {
    lifted::<Careless>("moved", 1, "2").to([("left", 1, "null"), ("arrived", 2, "null")]);
    assert_eq!(
        lifted::<Careless>("moved", 1, "3").failed(),
        FoldError::Internal(
            "event moved of schema version 1: the step made event arrived of schema version 3, \
             which it doesn't declare; add it to the list of `split`"
                .to_owned()
        )
    );
}

#[track_caller]
fn check(steps: &Steps, expected: &str) {
    assert_eq!(
        steps.check().err().as_deref().unwrap_or("accepted"),
        expected
    );
}

#[test]
fn steps_that_clash_are_named() {
    let steps = Steps::new().lift("a", 2).to(3).lift("b", 2).to(3);
    check(&steps, "accepted");
    let steps = Steps::new().lift("a", 2).to(3).lift("a", 2).drop();
    check(&steps, "two steps from event a of schema version 2");
}

#[test]
fn a_step_leads_its_own_type_to_a_later_version() {
    for to in [1, 2] {
        let expected = format!(
            "step from event a of schema version 2 to event a of schema version {to}: it has to \
             lead to a later version"
        );
        check(&Steps::new().lift("a", 2).to(to), &expected);
        let split = Steps::new().lift("a", 2);
        check(
            &split.split(&[("b", 1), ("a", to)], |(): (), _| ()),
            &expected,
        );
    }
    check(
        &Steps::new().lift("a", 2).rename_type("b").to(1),
        "accepted",
    );
}

#[test]
fn versions_begin_at_one() {
    check(
        &Steps::new().lift("a", 0).to(1),
        "step from event a of schema version 0: schema versions begin at 1",
    );
    check(
        &Steps::new().lift("a", 1).rename_type("b").to(0),
        "step from event a of schema version 1 to event b of schema version 0: schema versions \
         begin at 1",
    );
}

#[test]
fn steps_never_lead_back() {
    let to_and_fro = |version| {
        let steps = Steps::new().lift("a", 1).rename_type("b").to(1);
        steps.lift("b", 2).rename_type("a").to(version)
    };
    check(&to_and_fro(2), "accepted");
    check(
        &to_and_fro(1),
        "the steps from event a of schema version 1 lead back to it",
    );
}
