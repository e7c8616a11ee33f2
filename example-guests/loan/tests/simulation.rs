//! Tests the simulation: its format, its rules, and its figures against those of the published log.

#![allow(clippy::unwrap_used)]

mod support;

use loan::simulation::Simulation;

use support::{Run, published_log};

fn simulated(seed: u64, commands: u64) -> Run {
    Run::of(Simulation::new(seed, commands).map(|line| line.to_json()))
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_differ() {
    let text = |seed| {
        Simulation::new(seed, 3000)
            .map(|line| line.to_json() + "\n")
            .collect::<String>()
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn the_number_of_lines_is_the_one_asked_for() {
    for commands in [0, 1, 2, 3, 100, 4321] {
        assert_eq!(Simulation::new(3, commands).count() as u64, commands);
    }
}

#[test]
fn lines_are_in_order_of_time_and_applications_interleave() {
    let lines: Vec<_> = Simulation::new(5, 50_000).collect();
    assert!(lines.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let changes = lines
        .windows(2)
        .filter(|pair| pair[0].id != pair[1].id)
        .count();
    assert!(
        changes * 100 > lines.len() * 40,
        "{changes} changes of application"
    );
}

#[test]
fn every_command_is_accepted_but_completions_that_overlap() {
    for seed in 0..3 {
        let run = simulated(seed, 60_000);
        let rejected: Vec<_> = run.rejected.keys().cloned().collect();
        assert_eq!(
            rejected,
            [("complete-work".to_owned(), "work-not-started".to_owned())]
        );
    }
}

#[test]
fn only_completions_that_overlap_are_rejected_of_the_published_log() {
    let Some(lines) = published_log() else { return };
    let rejected = Run::of(lines).rejected;
    let expected = (
        ("complete-work".to_owned(), "work-not-started".to_owned()),
        1040,
    );
    assert_eq!(rejected.into_iter().collect::<Vec<_>>(), [expected]);
}

/// Name, figure of the published log, and the tolerance for a simulation of the same length.
const FIGURES: &[(&str, f64, f64)] = &[
    ("% declined", 58.34, 1.2),
    ("% cancelled", 21.449, 1.2),
    ("% granted", 17.162, 1.2),
    ("% open", 3.049, 1.2),
    ("commands per application, mean", 20.035, 0.8),
    ("commands per application, median", 11.0, 1.5),
    ("commands per application, 90 %", 47.0, 3.0),
    ("commands per application, 99 %", 85.0, 6.0),
    ("complete-work, of 1,000 commands", 276.175, 16.57),
    ("start-work, of 1,000 commands", 272.22, 16.33),
    ("schedule-work, of 1,000 commands", 100.374, 6.02),
    ("partly-submit, of 1,000 commands", 49.912, 2.99),
    ("submit, of 1,000 commands", 49.912, 2.99),
    ("decline, of 1,000 commands", 29.119, 1.75),
    ("preaccept, of 1,000 commands", 28.097, 1.69),
    ("create-offer, of 1,000 commands", 26.812, 1.61),
    ("select-offer, of 1,000 commands", 26.812, 1.61),
    ("send-offer, of 1,000 commands", 26.812, 1.61),
    ("accept, of 1,000 commands", 19.5, 1.17),
    ("finalize, of 1,000 commands", 19.127, 1.15),
    ("cancel-offer, of 1,000 commands", 13.94, 0.84),
    ("return-offer, of 1,000 commands", 13.173, 0.79),
    ("cancel, of 1,000 commands", 10.706, 0.64),
    ("activate, of 1,000 commands", 8.566, 0.51),
    ("approve, of 1,000 commands", 8.566, 0.51),
    ("register, of 1,000 commands", 8.566, 0.51),
    ("accept-offer, of 1,000 commands", 8.555, 0.51),
    ("decline-offer, of 1,000 commands", 3.059, 0.5),
    ("assess-fraud, starts per application", 0.021, 0.01),
    ("call-about-offer, starts per application", 1.712, 0.137),
    (
        "call-for-missing-information, starts per application",
        0.871,
        0.07,
    ),
    ("complete-application, starts per application", 1.797, 0.144),
    ("handle-lead, starts per application", 0.451, 0.036),
    ("validate-application, starts per application", 0.603, 0.048),
    ("% of applications with a rejection", 7.939, 1.2),
    ("% of commands after another application's", 56.829, 3.0),
    ("% of commands by nobody known", 6.869, 1.0),
    ("% of commands by the automaton", 17.424, 1.0),
    ("% with one offer, of those with any", 71.326, 2.5),
    ("amount granted, mean", 15_712.528, 700.0),
    ("amount, mean", 13_573.356, 700.0),
    ("amount, median", 10_000.0, 500.0),
    ("days from first to last command, 75 %", 14.201, 3.5),
    ("days from first to last command, 90 %", 30.462, 1.0),
    ("days from first to last command, median", 0.809, 1.2),
    ("offers per application with any", 1.402, 0.112),
    ("officers", 67.0, 1.0),
    ("rejected, of 1,000 commands", 3.966, 0.5),
];

#[test]
fn figures_are_near_those_of_the_published_log() {
    check(&simulated(2012, 262_200), 1.0);
}

#[test]
fn figures_of_a_short_run_are_near_too() {
    check(&simulated(4, 20_000), 4.0);
}

#[test]
fn the_published_figures_are_those_of_the_published_log() {
    let Some(lines) = published_log() else { return };
    check(&Run::of(lines), 0.05);
}

#[track_caller]
fn check(run: &Run, bounds: f64) {
    let figures = run.figures();
    for (name, published, bound) in FIGURES {
        let (found, bound) = (figures[*name], bounds * bound);
        eprintln!("| {name} | {published} | {found:.3} |");
        assert!(
            (found - published).abs() <= bound,
            "{name}: {found:.3}, published {published} +- {bound}"
        );
    }
}
