//! The clock of the machine jumps, forward and backward.

use std::sync::Arc;
use std::time::Duration;

use quipu::Host;
use quipu::model::{ManualClock, Position, Timestamp};
use quipu::subscribe::Owner;
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store!(
    jumps_of_the_clock_fail_no_command_and_leave_times_of_a_stream_in_order,
    a_held_subscription_is_not_lost_to_a_jump_of_the_clock,
    a_host_that_starts_with_an_earlier_clock_goes_on,
);

const DAY: u64 = 86_400_000_000;
const START: u64 = 20_000 * DAY;

/// A few microseconds, days and years, back and forth.
const JUMPS: [i64; 8] = [
    1,
    -5,
    DAY as i64,
    -3 * DAY as i64,
    3_650 * DAY as i64,
    -3_650 * DAY as i64,
    -10_000 * DAY as i64,
    20 * DAY as i64,
];

async fn bank(place: &Place, clock: &Arc<ManualClock>) -> Host {
    let builder = place.builder().clock(Arc::clone(clock) as Arc<_>);
    let host = builder.build().await.unwrap();
    if host.plan().decider("account").is_none() {
        examples::deploy(&host, examples::account()).await;
    }
    host
}

fn clock(now: u64) -> Arc<ManualClock> {
    let clock = ManualClock::default();
    clock.set(Timestamp(now));
    Arc::new(clock)
}

async fn deposit(host: &Host, id: &str) -> quipu::engine::Executed {
    let deposit = build::command("deposit", r#"{"amount":1}"#).with_id(id);
    let account = build::stream("account-1");
    host.execute(&account, deposit.unwrap()).await.unwrap()
}

async fn open(host: &Host) {
    let open = build::command("open", r#"{"owner":"ann"}"#);
    host.execute(&build::stream("account-1"), open)
        .await
        .unwrap();
}

/// Times of a stream never go back.
async fn check(host: &Host, events: usize) {
    let log = log::whole(host).await;
    log::check(&log);
    assert_eq!(log.len(), events);
    let times: Vec<u64> = log.iter().map(|event| event.recorded_at.0).collect();
    assert!(times.is_sorted(), "{times:?}");
}

async fn jumps_of_the_clock_fail_no_command_and_leave_times_of_a_stream_in_order(place: Place) {
    let clock = clock(START);
    let host = bank(&place, &clock).await;
    open(&host).await;
    let mut now = START;
    for (n, jump) in JUMPS.into_iter().enumerate() {
        now = now.checked_add_signed(jump).unwrap();
        clock.set(Timestamp(now));
        let first = deposit(&host, &format!("d{n}")).await;
        // The same command has the same outcome, whatever the time.
        let second = deposit(&host, &format!("d{n}")).await;
        assert!(second.replayed);
        assert_eq!(second.version, first.version);
    }
    check(&host, 1 + JUMPS.len()).await;
    host.shutdown().await.unwrap();
}

async fn a_host_that_starts_with_an_earlier_clock_goes_on(place: Place) {
    let host = bank(&place, &clock(START)).await;
    open(&host).await;
    deposit(&host, "before").await;
    host.shutdown().await.unwrap();
    let host = bank(&place, &clock(START - 100 * DAY)).await;
    deposit(&host, "after").await;
    check(&host, 3).await;
    host.shutdown().await.unwrap();
}

async fn a_held_subscription_is_not_lost_to_a_jump_of_the_clock(place: Place) {
    let clock = clock(START);
    let host = bank(&place, &clock).await;
    let lease = Duration::from_secs(3_600);
    let claim = host.claim("reader", None, lease).await.unwrap();
    let owner = Owner {
        name: "reader",
        token: claim.token,
        lease,
    };
    for now in [START + 10_000 * DAY, START - 10_000 * DAY] {
        clock.set(Timestamp(now));
        let other = host.claim("reader", None, lease).await;
        assert!(other.is_err(), "{other:?}");
        host.acknowledge_events(owner, Position(0)).await.unwrap();
    }
    host.shutdown().await.unwrap();
}
