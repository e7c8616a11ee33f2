//! No task is woken while the lock of the waiting subscriptions is held, because dropping a task may
//! need it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::StreamExt;
use quipu::Host;
use quipu::model::Position;
use quipu::store::Filter;
use quipu::subscribe::{Message, Subscribe, Subscription};
use quipu_tests::{PATIENCE, Place};

use crate::follow::{host, note, small, subscribe};

/// A task that needs the lock when it is woken.
struct Task {
    host: Host,
    /// Whether it got the lock.
    woken: Sender<bool>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let (counted, count) = mpsc::channel();
        let host = self.host.clone();
        // A thread of its own, so that a lock that is held fails the test and does not stop it.
        std::thread::spawn(move || counted.send(host.subscriptions()));
        let has_lock = count.recv_timeout(PATIENCE).is_ok();
        _ = self.woken.send(has_lock);
    }
}

/// The first message of a kind. Waits as often as the subscription does.
fn until(
    subscription: &mut Subscription,
    task: &Waker,
    woken: &Receiver<bool>,
    is_wanted: impl Fn(&Message) -> bool,
) -> Message {
    loop {
        match subscription.poll_next_unpin(&mut Context::from_waker(task)) {
            Poll::Ready(Some(message)) => {
                let message = message.unwrap();
                if is_wanted(&message) {
                    return message;
                }
            }
            Poll::Ready(None) => panic!("the subscription ended"),
            Poll::Pending => wait(woken),
        }
    }
}

/// Waits until the task is woken.
fn wait(woken: &Receiver<bool>) {
    let has_lock = tokio::task::block_in_place(|| woken.recv_timeout(2 * PATIENCE));
    assert!(has_lock.unwrap(), "woken while the lock is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_woken_while_the_lock_of_the_waiters_is_held() {
    let host = host(&Place::memory(), small()).await;
    let to = Subscribe::log(Position(0), Filter::default());
    let mut subscription = subscribe(&host, to.heartbeat(Duration::from_secs(3_600))).await;
    let (sender, woken) = mpsc::channel();
    let task = Waker::from(Arc::new(Task {
        host: host.clone(),
        woken: sender,
    }));
    let is_caught_up = |message: &Message| matches!(message, Message::CaughtUp(_));
    until(&mut subscription, &task, &woken, is_caught_up);
    for round in 1..=5 {
        // It waits for the event that is appended then.
        let polled = subscription.poll_next_unpin(&mut Context::from_waker(&task));
        assert!(polled.is_pending(), "{polled:?}");
        note(&host, "note-1", 1).await;
        let is_event = |message: &Message| matches!(message, Message::Event(_));
        let Message::Event(event) = until(&mut subscription, &task, &woken, is_event) else {
            panic!("it is an event");
        };
        assert_eq!(event.version.0, round);
    }
    // The end of the host wakes it, too.
    let polled = subscription.poll_next_unpin(&mut Context::from_waker(&task));
    assert!(polled.is_pending(), "{polled:?}");
    host.shutdown().await.unwrap();
    let ends: Vec<bool> = woken.try_iter().collect();
    assert!(
        !ends.is_empty() && ends.iter().all(|has_lock| *has_lock),
        "{ends:?}"
    );
}
