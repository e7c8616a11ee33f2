//! Tests that an application which the first generation begins and the second continues ends as if
//! nothing had changed.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Command, First, Second, published, same_view, simulated};

const SEEDS: [u64; 3] = [1, 2012, 77];
const COMMANDS: u64 = 6000;

#[test]
fn the_second_generation_goes_on_where_the_first_was_replaced() {
    for seed in SEEDS {
        eprintln!("seed {seed}");
        for commands in simulated(seed, COMMANDS) {
            check_replaced(&commands, commands.len() / 2);
        }
    }
}

#[test]
fn it_may_be_replaced_after_any_command() {
    let seed = 5;
    eprintln!("seed {seed}");
    for commands in simulated(seed, 1500) {
        for cut in 0..=commands.len() {
            check_replaced(&commands, cut);
        }
    }
}

#[test]
fn a_migrated_snapshot_is_the_state_of_the_lifted_events_at_every_version() {
    for seed in SEEDS {
        eprintln!("seed {seed}");
        for commands in simulated(seed, COMMANDS) {
            check_lockstep(&commands);
        }
    }
}

#[test]
fn what_is_asked_in_the_wrong_order_is_rejected_alike() {
    for seed in SEEDS {
        eprintln!("seed {seed}");
        for commands in simulated(seed, COMMANDS) {
            check_lockstep(&shuffled(commands, seed));
        }
    }
}

#[test]
fn the_published_log_is_answered_alike() {
    for commands in published().unwrap_or_default() {
        check_replaced(&commands, commands.len() / 2);
        check_lockstep(&commands);
    }
}

/// Checks that nothing changes if the first generation decides the commands before `cut`, and the
/// second those after it.
#[track_caller]
fn check_replaced(commands: &[Command], cut: usize) {
    let (before, after) = commands.split_at(cut);
    let (mut first, mut second) = (First::new(), Second::new());
    for command in before {
        let events = first.decide(command).unwrap_or_default();
        first.fold(&events);
        second.fold_lifted(&events);
    }
    for command in after {
        assert_eq!(
            second.execute(command),
            first.execute(command),
            "{command:?}"
        );
    }
    same_view(&first, &second);
}

/// Checks that both generations make the same decisions: the first one decides everything, and the
/// second decides on its lifted events.
#[track_caller]
fn check_lockstep(commands: &[Command]) {
    let (mut first, mut second) = (First::new(), Second::new());
    assert_eq!(first.migrated(), second.state());
    for command in commands {
        let (decided, again) = (first.decide(command), second.decide(command));
        assert_eq!(again.err(), decided.as_ref().err().cloned(), "{command:?}");
        for event in decided.unwrap_or_default() {
            let event = [event];
            first.fold(&event);
            second.fold_lifted(&event);
            assert_eq!(first.migrated(), second.state(), "after {event:?}");
            same_view(&first, &second);
        }
    }
}

/// Shuffles the commands. The result depends only on the arguments.
fn shuffled(mut commands: Vec<Command>, seed: u64) -> Vec<Command> {
    let mut number = seed;
    for index in (1..commands.len()).rev() {
        // Knuth's constants. The upper half is the random one.
        number = number
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        commands.swap(index, (number >> 33) as usize % (index + 1));
    }
    // Without an application at the beginning, everything would be rejected for the same reason.
    if let Some(submit) = commands.iter().position(|(name, _)| name == "submit") {
        commands.swap(submit, 0);
    }
    commands
}
