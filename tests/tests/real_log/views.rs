//! The documents of `loan-views` over the log: while it is written, rebuilt from the first event,
//! and under the second generation of `loan`.

use std::time::Instant;

use quipu::engine::Error;
use quipu::model::Lifecycle;
use quipu_tests::lines::{self, Line};
use quipu_tests::loan_books::LoanBooks;
use quipu_tests::loan_documents::{check_books, check_same, everything, keep, rebuild};
use quipu_tests::{Place, examples};

/// The number of lines for PostgreSQL: with the whole log this takes minutes.
const PART: usize = 20_000;

fn log() -> Vec<Line> {
    lines::published().unwrap_or_else(|| {
        eprintln!(
            "QUIPU_LOAN_LOG is not set: {} simulated commands instead",
            super::SIMULATED
        );
        lines::simulated(2012, super::SIMULATED)
    })
}

async fn check(place: Place, lines: &[Line]) {
    let host = place.host().await;
    examples::deploy(&host, examples::loan()).await;
    keep(&host, Lifecycle::Async).await;
    let mut books = LoanBooks::default();
    for (line, answer) in lines.iter().zip(super::run(&host, lines).await) {
        match answer {
            Ok(_) => books.accept_line(line),
            Err(Error::Rejected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let begun_at = Instant::now();
    let found = everything(&host).await;
    eprintln!("{:?} until it had caught up", begun_at.elapsed());
    check_books(&found, &books);
    let begun_at = Instant::now();
    rebuild(&host).await;
    eprintln!("{:?} to rebuild", begun_at.elapsed());
    check_same(&everything(&host).await, &found, "rebuilt");
    // Stored events are now read in the form of the second generation, which changes nothing.
    examples::deploy(&host, examples::loan_v2()).await;
    if lines.len() <= PART {
        rebuild(&host).await;
    }
    check_same(&everything(&host).await, &found, "second generation");
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_the_whole_log_match_the_books() {
    check(Place::sqlite(), &log()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_a_part_of_the_log_match_the_books_on_postgres() {
    let lines = log();
    check(Place::postgres(), &lines[..PART.min(lines.len())]).await;
}
