//! Hosts under load are killed and frozen.

use std::time::{Duration, Instant};

use quipu_tests::bank::{self, Bank};
use quipu_tests::{Place, seed};
use rand::Rng;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bank_client");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_a_host_on_sqlite_lose_and_double_nothing() {
    let kills = if seed::is_long() { 200 } else { 4 };
    let mut random = seed::random(seed::seeds(1)[0]);
    let place = Place::sqlite();
    bank::open_accounts(&place).await;
    let mut bank = Bank::new(&place, PROGRAM, "only");
    for _ in 0..kills {
        bank.start();
        // Now and then before the first answer.
        bank.wait_for(random.random_range(0..300));
        bank.kill();
    }
    bank.start();
    bank.wait_for(100);
    bank.kill();
    bank::check(&place, &[bank]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_two_hosts_on_postgres_lose_and_double_nothing() {
    let kills = if seed::is_long() { 100 } else { 4 };
    let mut random = seed::random(seed::seeds(1)[0]);
    let place = Place::postgres();
    bank::open_accounts(&place).await;
    let mut banks = ["one", "other"].map(|name| Bank::new(&place, PROGRAM, name));
    for bank in &mut banks {
        bank.start();
    }
    for _ in 0..kills {
        let killed = random.random_range(0..banks.len());
        banks[killed].wait_for(random.random_range(0..200));
        banks[killed].kill();
        // The other one goes on by itself.
        banks[1 - killed].wait_for(random.random_range(1..100));
        banks[killed].start();
    }
    for bank in &mut banks {
        bank.wait_for(100);
        bank.kill();
    }
    bank::check(&place, &banks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_frozen_for_a_while_holds_up_no_other_one() {
    let (rounds, pause) = match seed::is_long() {
        true => (3, Duration::from_secs(40)),
        false => (1, Duration::from_secs(3)),
    };
    let place = Place::postgres();
    bank::open_accounts(&place).await;
    let mut banks = ["one", "other"].map(|name| Bank::new(&place, PROGRAM, name));
    for bank in &mut banks {
        bank.start();
    }
    for round in 0..rounds {
        let frozen = round % banks.len();
        banks[frozen].wait_for(100);
        banks[frozen].freeze();
        let begun = Instant::now();
        let before = banks[frozen].count();
        let other = &mut banks[1 - frozen];
        let from = other.count();
        other.wait_for(100);
        eprintln!("the other host goes on after {:?}", begun.elapsed());
        while begun.elapsed() < pause {
            other.wait_for(1);
        }
        eprintln!("{} meanwhile", other.count() - from);
        banks[frozen].thaw();
        banks[frozen].wait_for(100);
        assert!(banks[frozen].count() > before);
    }
    for bank in &mut banks {
        bank.kill();
    }
    bank::check(&place, &banks).await;
}
