//! A shared limit on the bytes that requests hold in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of a budget.
const UNIT_BYTES: usize = 1 << 10;

/// A shared limit on bytes.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    units_max: u32,
    /// The budget that this one is a part of: what is held counts in both.
    whole: Option<Arc<Budget>>,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    of_whole: Option<Box<Reservation>>,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Self {
        let units_max = units(bytes_max).max(1);
        Self {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
            whole: None,
        }
    }

    /// A budget within this one, of an equal share of it but at least this many bytes.
    pub fn share(&self, shares: usize, least: usize) -> Self {
        let bytes = self.units_max as usize * UNIT_BYTES;
        Self {
            whole: Some(Arc::new(self.clone())),
            ..Self::new((bytes / shares.max(1)).max(least).min(bytes))
        }
    }

    /// An empty part of the budget.
    pub fn nothing(&self) -> Reservation {
        let whole = self.whole.as_ref();
        Reservation {
            budget: self.clone(),
            permit: None,
            of_whole: whole.map(|whole| Box::new(whole.nothing())),
        }
    }

    /// Waits for a number of bytes, or for the whole budget if the number is larger. Waiters are
    /// served in order.
    pub async fn hold(&self, bytes: usize) -> Reservation {
        let wanted = units(bytes).min(self.units_max);
        let permit = Arc::clone(&self.units).acquire_many_owned(wanted).await;
        let of_whole = match &self.whole {
            Some(whole) => {
                let bytes = wanted as usize * UNIT_BYTES;
                Some(Box::new(Box::pin(whole.hold(bytes)).await))
            }
            None => None,
        };
        Reservation {
            budget: self.clone(),
            permit: permit.ok(),
            of_whole,
        }
    }
}

impl Reservation {
    /// Changes the part to this number of bytes. Returns false when they are not free; the part
    /// then stays as it was.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let (wanted, held) = (units(bytes), self.units());
        if wanted <= held {
            let over = (held - wanted) as usize;
            drop(self.permit.as_mut().and_then(|permit| permit.split(over)));
            if let Some(of_whole) = &mut self.of_whole {
                of_whole.resize(bytes);
            }
            return true;
        }
        let free = Arc::clone(&self.budget.units);
        let Ok(more) = free.try_acquire_many_owned(wanted - held) else {
            return false;
        };
        if let Some(of_whole) = &mut self.of_whole
            && !of_whole.resize(bytes)
        {
            return false;
        }
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        true
    }

    fn units(&self) -> u32 {
        let permit = self.permit.as_ref();
        permit.map_or(0, |permit| {
            u32::try_from(permit.num_permits()).unwrap_or(u32::MAX)
        })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// The budget of bodies that are being read. Small bodies have their own share, so large ones can't
/// block them.
#[derive(Debug, Clone)]
pub struct Bodies {
    small: Budget,
    large: Budget,
}

/// The part that one body holds.
#[derive(Debug)]
pub struct BodyHeld {
    bodies: Bodies,
    held: Reservation,
    is_large: bool,
}

/// Up to this size a body is a small one.
const SMALL_BYTES: usize = 64 << 10;

impl Bodies {
    pub fn new(bytes_max: usize) -> Self {
        let small = bytes_max / 8;
        Self {
            small: Budget::new(small),
            large: Budget::new(bytes_max - small),
        }
    }

    /// A budget within this one, of an equal share of it. There is room for one largest body, which
    /// takes up to twice its length while it is read.
    pub fn share(&self, shares: usize, largest: usize) -> Self {
        Self {
            small: self.small.share(shares, SMALL_BYTES),
            large: self.large.share(shares, largest.saturating_mul(2)),
        }
    }

    /// For a body of which nothing has been read yet.
    pub fn nothing(&self) -> BodyHeld {
        BodyHeld {
            bodies: self.clone(),
            held: self.small.nothing(),
            is_large: false,
        }
    }
}

impl BodyHeld {
    /// As [`Held::resize`].
    pub fn resize(&mut self, bytes: usize) -> bool {
        if !self.is_large && bytes <= SMALL_BYTES && self.held.resize(bytes) {
            return true;
        }
        if self.is_large {
            return self.held.resize(bytes);
        }
        let mut held = self.bodies.large.nothing();
        let is_free = held.resize(bytes);
        if is_free {
            (self.held, self.is_large) = (held, true);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_held_is_bounded_and_given_back() {
        let budget = Budget::new(10 << 10);
        let mut first = budget.hold(4 << 10).await;
        let mut second = budget.nothing();
        assert!(second.resize(6 << 10));
        assert!(!first.resize(5 << 10));
        assert!(budget.hold(1).now_or_never().is_none());
        assert!(second.resize(5 << 10));
        assert!(first.resize(5 << 10));
        drop((first, second));
        // More than the total: all of it.
        assert!(budget.hold(1 << 30).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_share_is_bounded_by_itself_and_by_the_whole() {
        let whole = Budget::new(16 << 10);
        let (one, other) = (whole.share(4, 0), whole.share(4, 10 << 10));
        let mut first = one.nothing();
        assert!(first.resize(4 << 10));
        assert!(!first.resize(5 << 10));
        let mut second = other.hold(10 << 10).await;
        assert!(!second.resize(11 << 10));
        // 14 of the 16 are held.
        assert!(whole.hold(3 << 10).now_or_never().is_none());
        assert!(second.resize(9 << 10));
        assert!(whole.hold(3 << 10).now_or_never().is_some());
        drop((first, second));
        assert!(whole.hold(16 << 10).now_or_never().is_some());
    }

    #[test]
    fn large_bodies_keep_no_small_one_out() {
        let bodies = Bodies::new(1 << 20);
        let mut large = bodies.nothing();
        assert!(large.resize(896 << 10));
        assert!(!large.resize(897 << 10));
        let mut small = bodies.nothing();
        assert!(small.resize(64 << 10));
        assert!(!small.resize(65 << 10));
        let mut other = bodies.nothing();
        assert!(other.resize(64 << 10));
        assert!(!bodies.nothing().resize(1));
        drop(large);
        assert!(bodies.nothing().resize(1));
    }
}
