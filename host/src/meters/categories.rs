use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most categories that are counted by themselves.
pub const CATEGORIES_MAX: usize = 100;
/// The name under which all further ones are counted.
pub const OTHER: &str = "other";
/// Places for categories: enough that a search is short.
const PLACES: usize = 256;

/// A category and what belongs to it.
type Named<T> = (Box<str>, T);

/// Measurements by category, of a bounded number of them. Finding one takes no lock, and allocates
/// only at its first use.
#[derive(Debug)]
pub struct Categories<T> {
    /// A hash table that is never full. An empty place ends a search.
    places: Box<[OnceLock<Named<T>>]>,
    taken: AtomicUsize,
    others: T,
}

impl<T: Default> Default for Categories<T> {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| OnceLock::new()).collect(),
            taken: AtomicUsize::new(0),
            others: T::default(),
        }
    }
}

impl<T: Default> Categories<T> {
    /// The measurements of a category; those of all others when there are too many.
    pub fn of(&self, category: &str) -> &T {
        let Some(free) = self.search(category) else {
            return &self.others;
        };
        if free.get().is_none() && !self.take_place() {
            return &self.others;
        }
        let (name, measured) = free.get_or_init(|| (category.into(), T::default()));
        match **name == *category {
            true => measured,
            // Another category came first; the next use finds another place.
            false => &self.others,
        }
    }

    /// The same, but a category that is not known yet belongs to the others.
    pub fn known(&self, category: &str) -> &T {
        let found = self.search(category).and_then(OnceLock::get);
        found.map_or(&self.others, |(_, measured)| measured)
    }

    /// Shows every category, then the others as [`OTHER`].
    pub fn each(&self, mut show: impl FnMut(&str, &T)) {
        for (name, measured) in self.places.iter().filter_map(OnceLock::get) {
            show(name, measured);
        }
        show(OTHER, &self.others);
    }

    /// The place of a category, or the free place that it can have.
    fn search(&self, category: &str) -> Option<&OnceLock<(Box<str>, T)>> {
        if category == OTHER {
            return None;
        }
        let first = hash(category);
        let places = (0..PLACES).map(|step| &self.places[(first + step) % PLACES]);
        let mut fitting = places.filter(|place| match place.get() {
            Some((name, _)) => **name == *category,
            None => true,
        });
        fitting.next()
    }

    fn take_place(&self) -> bool {
        let one_more = |taken| (taken < CATEGORIES_MAX).then_some(taken + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.taken.fetch_update(set, fetch, one_more).is_ok()
    }
}

/// FNV-1a.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % PLACES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    #[test]
    fn the_number_of_categories_is_bounded() {
        let categories = Categories::<Counter>::default();
        for round in 0..2 {
            for number in 0..1_000 {
                categories.of(&format!("category{number}")).add(1);
            }
            assert_eq!(categories.known("category0").get(), round + 1);
        }
        categories.of(OTHER).add(1);
        let (mut names, mut all) = (Vec::new(), 0);
        categories.each(|name, counter| {
            names.push(name.to_owned());
            all += counter.get();
        });
        assert_eq!((names.len(), all), (CATEGORIES_MAX + 1, 2_001));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CATEGORIES_MAX + 1);
    }

    #[test]
    fn threads_share_a_category() {
        let categories = Categories::<Counter>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        categories.of(&format!("category{}", number % 50)).add(1);
                    }
                });
            }
        });
        let mut all = 0;
        categories.each(|_, counter| all += counter.get());
        assert_eq!(all, 4_000);
    }
}
