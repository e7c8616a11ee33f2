use quipu_guest::testing::{check_projection, projected};

use {{name}}_events::Event;
use {{name}}_views::{Document, Totals};

#[test]
fn a_host_accepts_the_projection() {
    check_projection::<Totals>();
}

#[test]
fn a_document_has_the_total() {
    let documents = projected::<Totals>()
        .event(
            "{{category}}-1",
            Event::Opened {
                title: "first".into(),
            },
        )
        .event("{{category}}-1", Event::Added { amount: 5 })
        .event("{{category}}-1", Event::Added { amount: 7 });
    let expected = Document {
        title: "first".into(),
        total: 12,
        is_open: true,
    };
    assert_eq!(documents.document("1"), Some(expected));
}

#[test]
fn a_total_that_is_too_large_is_no_fault() {
    let documents = projected::<Totals>()
        .event("{{category}}-1", Event::Added { amount: u64::MAX })
        .event("{{category}}-1", Event::Added { amount: 1 });
    let total = documents.document("1").map(|document| document.total);
    assert_eq!(total, Some(u64::MAX));
}
