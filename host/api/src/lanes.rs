//! Runs work concurrently across keys and in order within one.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

/// Work by key. A key has at most one future in flight; further work for the key waits in its lane.
/// The amount of work is limited, and no tasks are spawned: the futures make progress while
/// [`next`](Self::next) is awaited.
pub struct Lanes<K, W, S, F> {
    start: S,
    lanes: HashMap<K, VecDeque<W>>,
    /// First of its lane, waiting for room in flight.
    ready: VecDeque<(K, W)>,
    running: FuturesUnordered<Keyed<K, F>>,
    waiting: usize,
    in_flight_max: usize,
    waiting_max: usize,
}

/// A future together with its key.
struct Keyed<K, F> {
    key: Option<K>,
    future: std::pin::Pin<Box<F>>,
}

impl<K: Unpin, F: Future> Future for Keyed<K, F> {
    type Output = (Option<K>, F::Output);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let output = std::task::ready!(self.future.as_mut().poll(context));
        std::task::Poll::Ready((self.key.take(), output))
    }
}

impl<K, W, S, F> Lanes<K, W, S, F>
where
    K: Hash + Eq + Clone + Unpin,
    S: Fn(K, W) -> F,
    F: Future,
{
    /// Creates empty lanes. `start` makes the future of a piece of work.
    pub fn new(in_flight_max: usize, waiting_max: usize, start: S) -> Self {
        Self {
            start,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            running: FuturesUnordered::new(),
            waiting: 0,
            in_flight_max: in_flight_max.max(1),
            waiting_max,
        }
    }

    /// Whether one more may be pushed.
    pub fn has_room(&self) -> bool {
        self.waiting + self.ready.len() <= self.waiting_max
            && (self.running.len() < self.in_flight_max || self.ready.is_empty())
    }

    /// Whether nothing is in flight; then nothing waits either.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Adds a piece of work after all others of its key.
    pub fn push(&mut self, key: K, work: W) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.push_back(work);
            self.waiting += 1;
            return;
        }
        self.lanes.insert(key.clone(), VecDeque::new());
        self.ready.push_back((key, work));
        self.start_ready();
    }

    /// The next output, of whatever key; none when idle. May be dropped and called a second time.
    pub async fn next(&mut self) -> Option<F::Output> {
        let (key, output) = self.running.next().await?;
        if let Some(key) = key {
            match self.lanes.get_mut(&key).and_then(VecDeque::pop_front) {
                Some(work) => {
                    self.waiting -= 1;
                    self.ready.push_back((key, work));
                }
                None => _ = self.lanes.remove(&key),
            }
        }
        self.start_ready();
        Some(output)
    }

    fn start_ready(&mut self) {
        while self.running.len() < self.in_flight_max {
            let Some((key, work)) = self.ready.pop_front() else {
                return;
            };
            let future = Box::pin((self.start)(key.clone(), work));
            self.running.push(Keyed {
                key: Some(key),
                future,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn one_key_is_in_order_and_the_bound_on_futures_holds() {
        let running = RefCell::new(Vec::new());
        let most = RefCell::new(0);
        let mut lanes = Lanes::new(3, 100, |key: u32, work: u32| {
            let (running, most) = (&running, &most);
            async move {
                assert!(!running.borrow().contains(&key), "two of one key");
                running.borrow_mut().push(key);
                let count = running.borrow().len();
                most.replace_with(|most| count.max(*most));
                for _ in 0..(key + work) % 5 {
                    tokio::task::yield_now().await;
                }
                running.borrow_mut().retain(|other| *other != key);
                (key, work)
            }
        });
        let mut seen: HashMap<u32, Vec<u32>> = HashMap::new();
        for work in 0..200u32 {
            while !lanes.has_room() {
                let (key, work) = lanes.next().await.unwrap();
                seen.entry(key).or_default().push(work);
            }
            lanes.push(work % 7, work);
        }
        while let Some((key, work)) = lanes.next().await {
            seen.entry(key).or_default().push(work);
        }
        assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 200);
        assert!(seen.values().all(|works| works.is_sorted()));
        assert_eq!(*most.borrow(), 3);
        assert!(lanes.is_idle() && lanes.lanes.is_empty());
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let mut lanes = Lanes::new(1, 2, |_: u32, ()| std::future::pending::<()>());
        let mut pushed = 0;
        while lanes.has_room() {
            lanes.push(7, ());
            pushed += 1;
        }
        assert_eq!(pushed, 4);
    }
}
