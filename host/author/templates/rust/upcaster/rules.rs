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
