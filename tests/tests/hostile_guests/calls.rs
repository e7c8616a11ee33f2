use std::time::Duration;

use quipu::model::{AppendLimits, Body, CommandRecord, ContentType, Name, Timestamp, Version};
use quipu::runtime::{Failure, FaultKind, FoldEvent, Instance, Limits, Outcome};
use quipu_tests::probe::probe;

use crate::guest::decider_with;
use crate::{apply, check_fault, check_obedient, decide, fault, go, load, open, runtime, tight};

/// A guest that decides within these limits.
fn check_obeyed(name: &str, limits: Limits) {
    let (mut instance, aggregate) = open(&load(name, limits));
    let decision = decide(&mut instance, &aggregate).unwrap();
    assert!(matches!(decision.outcome, Outcome::Events(events) if events.len() == 1));
    instance.close(aggregate);
    assert!(!instance.is_spent());
}

#[test]
fn a_valid_guest_decides() {
    check_obedient(&runtime(Limits::default()));
    check_obedient(&runtime(tight()));
}

#[test]
fn an_instance_serves_thousands_of_decisions_and_aggregates() {
    let (mut instance, mut aggregate) = open(&load("skeleton", tight()));
    for _ in 0..5_000 {
        decide(&mut instance, &aggregate).unwrap();
        instance.close(aggregate);
        aggregate = instance.open("1", None).unwrap();
    }
}

#[test]
fn a_trap_reports_its_cause() {
    check_fault("trap", tight(), FaultKind::Trap, "unreachable", true);
    let (mut instance, aggregate) = open(&load("divide", tight()));
    let found = fault(apply(&mut instance, &aggregate, 1));
    assert_eq!(found.kind, FaultKind::Trap);
    assert!(found.text.contains("divide by zero"), "{}", found.text);
}

#[test]
fn a_trap_reports_the_error_that_the_guest_logged_before() {
    let words = "it said \"index out of bounds\"";
    check_fault("panic", tight(), FaultKind::Trap, words, true);
}

#[test]
fn fuel_bounds_a_call() {
    check_obeyed("count", tight());
    let less = Limits {
        fuel_per_call: 1_000_000,
        ..tight()
    };
    check_fault("count", less, FaultKind::OutOfFuel, "fuel", true);
    check_fault("loop", tight(), FaultKind::OutOfFuel, "fuel", true);
}

#[test]
fn fuel_is_reported_and_equal_for_equal_decisions() {
    let (mut instance, aggregate) = open(&load("count", tight()));
    let first = decide(&mut instance, &aggregate).unwrap().fuel;
    let second = decide(&mut instance, &aggregate).unwrap().fuel;
    assert_eq!(first, second);
    assert!((1_000_000..20_000_000).contains(&first), "{first}");
    let (mut instance, aggregate) = open(&load("loop", tight()));
    let used = fault(decide(&mut instance, &aggregate)).fuel;
    assert_eq!(used, Some(20_000_000));
}

#[test]
fn a_deadline_bounds_a_call_whose_fuel_does_not() {
    let no_fuel = Limits {
        fuel_per_call: u64::MAX,
        deadline: Duration::from_millis(20),
        ..tight()
    };
    check_fault("loop", no_fuel, FaultKind::Deadline, "time", true);
    let long = Limits {
        deadline: Duration::MAX,
        ..tight()
    };
    check_obeyed("count", long);
}

#[test]
fn memory_is_bounded_for_the_whole_instance() {
    let two_mib = Limits {
        memory_bytes_max: 2 << 20,
        ..tight()
    };
    let module = load("grow-memory", two_mib.clone());
    let (mut instance, aggregate) = open(&module);
    let before = instance.memory_bytes();
    decide(&mut instance, &aggregate).unwrap();
    assert_eq!(instance.memory_bytes(), before + (1 << 20));
    let found = fault(decide(&mut instance, &aggregate));
    assert_eq!(found.kind, FaultKind::OutOfMemory, "{found}");
    assert!(instance.is_spent());
    let less = Limits {
        memory_bytes_max: 1 << 20,
        ..tight()
    };
    check_fault("grow-memory", less, FaultKind::OutOfMemory, "memory", true);
    check_obeyed("large-memory", two_mib);
}

#[test]
fn tables_are_bounded() {
    check_obeyed("grow-table", tight());
    let less = Limits {
        table_elements_max: 15_000,
        ..tight()
    };
    check_fault("grow-table", less, FaultKind::OutOfMemory, "table", true);
}

#[test]
fn the_number_of_handles_is_bounded() {
    let memory = FaultKind::OutOfMemory;
    check_fault("many-handles", tight(), memory, "handle", true);
    let limits = |handles_max| Limits {
        handles_max,
        ..tight()
    };
    let (mut instance, _first) = open(&load("skeleton", limits(2)));
    let _second = instance.open("2", None).unwrap();
    let (mut instance, _first) = open(&load("skeleton", limits(1)));
    assert_eq!(fault(instance.open("2", None)).kind, memory);
}

#[test]
fn the_stack_is_bounded_and_an_overflow_is_reported() {
    check_obeyed("deep", tight());
    check_fault("recursion", tight(), FaultKind::Trap, "stack", true);
}

#[test]
fn output_is_bounded_before_it_is_copied() {
    check_obeyed("large-output", tight());
    let less = Limits {
        output_bytes_max: 32 << 10,
        ..tight()
    };
    check_fault(
        "large-output",
        less,
        FaultKind::OutputTooLarge,
        "copy out",
        true,
    );
}

#[test]
fn a_decision_is_bounded_in_events_and_their_bytes() {
    let short = Limits {
        decision: AppendLimits {
            event_bytes_max: 32 << 10,
            ..AppendLimits::default()
        },
        ..tight()
    };
    check_fault(
        "large-output",
        short,
        FaultKind::OutputTooLarge,
        "bytes per event",
        false,
    );
    let none = AppendLimits {
        events_max: 0,
        ..AppendLimits::default()
    };
    let (mut instance, aggregate) = open(&load(
        "skeleton",
        Limits {
            decision: none,
            ..tight()
        },
    ));
    let found = fault(decide(&mut instance, &aggregate));
    assert_eq!(found.kind, FaultKind::OutputTooLarge);
    assert!(!instance.is_spent());
}

#[test]
fn bytes_that_cannot_be_decoded_break_the_contract() {
    check_fault("bad-utf8", tight(), FaultKind::Contract, "utf-8", true);
    check_fault("bad-case", tight(), FaultKind::Contract, "", true);
    check_fault(
        "outside",
        tight(),
        FaultKind::Contract,
        "out of bounds",
        true,
    );
    check_fault(
        "endless-list",
        tight(),
        FaultKind::Contract,
        "out of bounds",
        true,
    );
    check_fault("bad-log", tight(), FaultKind::Contract, "utf-8", true);
}

#[test]
fn a_handle_that_was_never_made_breaks_the_contract() {
    let module = load("bad-handle", tight());
    let mut instance = Instance::new(&module).unwrap();
    let found = fault(instance.open("1", None));
    assert_eq!(found.kind, FaultKind::Contract, "{found}");
    assert!(instance.is_spent());
}

#[test]
fn arguments_are_never_written_outside_of_the_guests_memory() {
    let module = load("bad-realloc", tight());
    let mut instance = Instance::new(&module).unwrap();
    let found = fault(instance.open("1", None));
    assert_eq!(found.kind, FaultKind::Contract, "{found}");
}

#[test]
fn an_event_that_the_manifest_does_not_declare_breaks_the_contract() {
    let contract = FaultKind::Contract;
    check_fault(
        "bad-json",
        tight(),
        contract,
        "event went: not well-formed JSON",
        false,
    );
    check_fault(
        "unknown-type",
        tight(),
        contract,
        "event type \"went\"",
        false,
    );
    check_fault(
        "unknown-version",
        tight(),
        contract,
        "schema version 2",
        false,
    );
    check_fault("binary-body", tight(), contract, "application/json", false);
    check_fault(
        "hosts-annotation",
        tight(),
        contract,
        "quipu.principal",
        false,
    );
    check_fault("unnamed-tag", tight(), contract, "name:value", false);
}

#[test]
fn a_view_and_a_snapshot_are_checked_too() {
    let (mut instance, aggregate) = open(&load("bad-view", tight()));
    assert_eq!(fault(instance.view(&aggregate)).kind, FaultKind::Contract);
    let (mut instance, aggregate) = open(&load("old-snapshot", tight()));
    assert_eq!(
        fault(instance.snapshot(&aggregate)).kind,
        FaultKind::Contract
    );
    assert!(!instance.is_spent());
    let (mut instance, aggregate) = open(&load("skeleton", tight()));
    let snapshot = instance.snapshot(&aggregate).unwrap().unwrap();
    assert_eq!(
        (snapshot.state_schema_version, &snapshot.body),
        (1, &Body::empty())
    );
    let reopened = instance.open("1", Some(&snapshot)).unwrap();
    instance.close(reopened);
    assert_eq!(instance.migrate(&snapshot).unwrap(), None);
}

#[test]
fn a_guest_can_report_that_it_failed() {
    let words = "it says \"lost \\\"it\\\"\\n\"";
    check_fault("internal", tight(), FaultKind::Internal, words, false);
    let (mut instance, aggregate) = open(&load("internal", tight()));
    let found = fault(apply(&mut instance, &aggregate, 1));
    assert_eq!(found.kind, FaultKind::Internal);
}

#[test]
fn a_rejection_is_an_answer_and_not_a_fault() {
    let (mut instance, aggregate) = open(&load("rejects", tight()));
    let Outcome::Rejected(rejection) = decide(&mut instance, &aggregate).unwrap().outcome else {
        panic!("expected a rejection");
    };
    assert_eq!((&*rejection.code, &*rejection.message), ("went", "probe"));
    let (mut instance, aggregate) = open(&load("picky", tight()));
    let expected = "no such thing".to_owned();
    let found = decide(&mut instance, &aggregate).unwrap().outcome;
    assert_eq!(found, Outcome::BadCommand(expected.clone()));
    let found = apply(&mut instance, &aggregate, 1).unwrap_err();
    assert_eq!(found, Failure::UnknownEvent(expected));
    assert!(!instance.is_spent());
}

#[test]
fn tags_and_annotations_are_stored_with_the_event() {
    let (mut instance, aggregate) = open(&load("annotated", tight()));
    let Outcome::Events(events) = decide(&mut instance, &aggregate).unwrap().outcome else {
        panic!("expected events");
    };
    assert_eq!(
        events[0].metadata.as_deref(),
        Some(&b"{\"probe\":\"went\"}"[..])
    );
    assert_eq!(events[0].tags, ["probe:1".into()]);
}

#[test]
fn logging_consumes_fuel() {
    check_fault("chatter", tight(), FaultKind::OutOfFuel, "fuel", true);
}

#[test]
fn a_fault_while_closing_discards_only_the_instance() {
    let module = load("bad-drop", tight());
    let (mut instance, aggregate) = open(&module);
    instance.close(aggregate);
    assert!(instance.is_spent());
    let (mut instance, aggregate) = open(&module);
    assert!(decide(&mut instance, &aggregate).is_ok());
}

#[test]
fn aggregates_of_one_instance_share_nothing() {
    let (mut instance, first) = open(&load("skeleton", tight()));
    let second = instance.open("2", None).unwrap();
    apply(&mut instance, &first, 2).unwrap();
    apply(&mut instance, &second, 5).unwrap();
    assert_eq!(instance.view(&first).unwrap().unwrap(), "{\"count\":2}");
    assert_eq!(instance.view(&second).unwrap().unwrap(), "{\"count\":5}");
}

#[test]
fn a_long_list_is_folded_in_several_calls_each_with_its_own_limits() {
    let limits = Limits {
        events_per_call_max: 2,
        ..tight()
    };
    let (mut instance, aggregate) = open(&load("skeleton", limits));
    apply(&mut instance, &aggregate, 9).unwrap();
    assert_eq!(instance.view(&aggregate).unwrap().unwrap(), "{\"count\":9}");
}

/// A module is paused for the time that a repetition would take, so a guest can't spread it over many
/// calls.
#[test]
fn a_fault_took_the_time_of_all_calls_that_folded_its_events() {
    const EVENTS: u64 = 40;
    let (name, body) = (Name::new("went").unwrap(), Body::empty());
    let events: Vec<_> = (1..=EVENTS)
        .map(|version| event_of(&name, &body, version))
        .collect();
    let module = load("weary", tight());
    let (mut instance, aggregate) = open(&module);
    for event in &events[1..] {
        instance.apply_each(&aggregate, &[*event]).unwrap();
    }
    let last = fault(instance.apply_each(&aggregate, &events[..1]));
    let (mut instance, aggregate) = open(&module);
    let all = fault(instance.apply_each(&aggregate, &events));
    assert_eq!((last.kind, all.kind), (FaultKind::Trap, FaultKind::Trap));
    assert!(all.took > 4 * last.took, "{:?} {:?}", all.took, last.took);
}

#[test]
fn a_command_of_another_content_type_is_a_bad_command() {
    let (mut instance, aggregate) = open(&load("trap", tight()));
    let binary = ContentType::new("application/cbor").unwrap();
    let command = CommandRecord {
        body: Body::new(binary, vec![0xa0]).unwrap(),
        ..go()
    };
    let decision = instance.decide(&aggregate, &command, &Vec::new()).unwrap();
    let Outcome::BadCommand(text) = decision.outcome else {
        panic!("expected a bad command");
    };
    assert_eq!(
        text,
        "command go is application/json, this one is application/cbor"
    );
}

/// Events that a guest has folded one by one must fold together when all of them are loaded.
#[test]
fn events_that_fit_the_fuel_of_a_call_one_by_one_can_be_folded_together() {
    const EVENTS: u64 = 200;
    const FUEL: u64 = 3_000_000;
    let component = probe("thing").event("went", 1).traps_on_rare().component();
    let opened = |fuel_per_call| {
        let limits = Limits {
            fuel_per_call,
            ..Limits::default()
        };
        open(&runtime(limits).load(&component).unwrap())
    };
    let name = Name::new("went").unwrap();
    let (mut bytes, mut one) = (1_000, 0);
    let (mut instance, aggregate) = opened(500_000_000);
    let mut body = Body::empty();
    while one * EVENTS < 2 * FUEL {
        bytes *= 2;
        body = Body::json(format!("\"{}\"", "x".repeat(bytes)).into_bytes()).unwrap();
        let event = event_of(&name, &body, 1);
        one = instance.apply(&aggregate, &[event]).unwrap();
    }
    assert!(one < FUEL / 4, "one event takes {one}");
    let events: Vec<_> = (1..=EVENTS)
        .map(|version| event_of(&name, &body, version))
        .collect();
    for each in [false, true] {
        let (mut instance, aggregate) = opened(FUEL);
        let folded = match each {
            true => instance.apply_each(&aggregate, &events),
            false => instance.apply(&aggregate, &events),
        };
        assert!(folded.unwrap() > FUEL);
    }
}

/// A module is paused for what its calls have cost, and a fold may need many of them.
#[test]
fn a_fault_took_the_time_of_all_calls_of_its_fold() {
    // Each call uses most of its fuel, except the last one, which traps at once.
    let component = decider_with(
        "(func $apply (type $apply) (local $rest i32)
           (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1)))
           (if (i32.eq (i32.load (local.get 0)) (i32.const 80)) (then unreachable))
           (local.set $rest (i32.const 3000000))
           (loop $more
             (br_if $more (local.tee $rest (i32.sub (local.get $rest) (i32.const 1)))))
           (i32.const 0x790))",
    );
    let (mut instance, aggregate) = open(&runtime(tight()).load(&component).unwrap());
    let (name, body) = (Name::new("went").unwrap(), Body::empty());
    let events: Vec<_> = (1..=80)
        .map(|version| event_of(&name, &body, version))
        .collect();
    let found = fault(instance.apply_each(&aggregate, &events));
    assert_eq!(found.kind, FaultKind::Trap, "{found}");
    // No processor counts to 237 million in less.
    assert!(found.took > Duration::from_millis(20), "{:?}", found.took);
}

fn event_of<'a>(name: &'a Name, body: &'a Body, version: u64) -> FoldEvent<'a> {
    FoldEvent {
        name,
        schema_version: 1,
        version: Version(version),
        recorded_at: Timestamp(version),
        body,
    }
}
