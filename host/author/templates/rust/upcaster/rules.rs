use quipu_guest::testing::{check_steps, lifted};

use {{name}}::Upcasts;

#[test]
fn a_host_accepts_the_steps() {
    check_steps::<Upcasts>();
}

#[test]
fn amounts_become_cents() {
    lifted::<Upcasts>("added", 1, r#"{"amount":5}"#).to([("added", 2, r#"{"cents":500}"#)]);
}

#[test]
fn an_amount_that_is_too_large_is_no_fault() {
    lifted::<Upcasts>("added", 1, r#"{"amount":18446744073709551615}"#).to([(
        "added",
        2,
        r#"{"cents":18446744073709551615}"#,
    )]);
}
