use std::cmp::Ordering;
use std::sync::Arc;

use tokio::time::Instant;

use super::scanned::Scanned;
use super::shared::Shared;
use super::{Comparison, Difference, Error};
use crate::fold::off_the_reactor;
use crate::model::is_same_json;
use crate::store::{
    Build, BuildId, DOCUMENTS_PAGE_MAX, Role, Scan, ScannedDocument, StoredProjection,
};

/// Limit for the number of differences that are reported as examples.
const EXAMPLES_MAX: usize = 10;
/// Limit for the bytes of each document in an example.
const EXAMPLE_BYTES_MAX: usize = 1 << 10;

/// Compares the next build of a projection with its active one, key by key, until the time limit is
/// reached. Returns `None` unless the projection has both builds.
pub(super) async fn compare(
    shared: &Shared,
    stored: &StoredProjection,
) -> Result<Option<Comparison>, Error> {
    let of = |role| stored.builds.iter().find(move |build| build.role == role);
    let (Some(active), Some(next)) = (of(Role::Active), of(Role::Next)) else {
        return Ok(None);
    };
    let until = Instant::now() + shared.options.comparison_time;
    let mut comparison = Comparison {
        at: shared.clock.now(),
        active_position: position(shared, active).await?,
        next_position: position(shared, next).await?,
        ..Comparison::default()
    };
    let mut ones = Keys::new(shared, active.id);
    let mut others = Keys::new(shared, next.id);
    loop {
        let (one, other) = (ones.first().await?, others.first().await?);
        let order = match (&one, &other) {
            (None, None) => {
                comparison.is_complete = true;
                break;
            }
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.key.cmp(&other.key),
        };
        let one = one.filter(|_| order != Ordering::Greater);
        let other = other.filter(|_| order != Ordering::Less);
        if one.is_some() {
            ones.pass();
        }
        if other.is_some() {
            others.pass();
        }
        let is_same = is_same_document(&one, &other).await?;
        comparison.count(one, other, is_same);
        if Instant::now() >= until {
            break;
        }
    }
    Ok(Some(comparison))
}

/// Returns the position of a build. For an inline build that is the end of the log.
async fn position(shared: &Shared, build: &Build) -> Result<crate::model::Position, Error> {
    Ok(match build.is_inline {
        true => shared.reader.log_head().await?,
        false => build.position,
    })
}

/// Whether both builds have the document with the same JSON value. Two guests may serialize the
/// same value differently.
async fn is_same_document(
    active: &Option<ScannedDocument>,
    next: &Option<ScannedDocument>,
) -> Result<bool, Error> {
    let (Some(active), Some(next)) = (active, next) else {
        return Ok(false);
    };
    if active.document == next.document {
        return Ok(true);
    }
    let (active, next) = (Arc::clone(&active.document), Arc::clone(&next.document));
    let compare = move || is_same_json(active.as_bytes(), next.as_bytes());
    off_the_reactor(compare).await.map_err(|_| Error::Stopped)
}

impl Comparison {
    /// Counts a document that exists in one of the builds, or in both.
    fn count(
        &mut self,
        active: Option<ScannedDocument>,
        next: Option<ScannedDocument>,
        is_same: bool,
    ) {
        let key = active.as_ref().or(next.as_ref());
        let Some(key) = key.map(|found| Arc::clone(&found.key)) else {
            return;
        };
        let count = match (&active, &next) {
            (Some(_), Some(_)) if is_same => {
                self.same += 1;
                return;
            }
            (Some(_), Some(_)) => &mut self.different,
            (Some(_), None) => &mut self.only_active,
            _ => &mut self.only_next,
        };
        *count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Difference {
                key: (*key).into(),
                active: active.map(|found| shortened(&found.document)),
                next: next.map(|found| shortened(&found.document)),
            });
        }
    }
}

fn shortened(document: &str) -> Box<str> {
    document[..document.floor_char_boundary(EXAMPLE_BYTES_MAX)].into()
}

/// Iterates over the documents of a build in key order.
struct Keys<'a> {
    pages: Scanned<'a>,
    page: std::vec::IntoIter<ScannedDocument>,
    first: Option<ScannedDocument>,
}

impl<'a> Keys<'a> {
    fn new(shared: &'a Shared, build: BuildId) -> Self {
        Self {
            pages: Scanned::new(&*shared.documents, build, Scan::default()),
            page: Vec::new().into_iter(),
            first: None,
        }
    }

    async fn first(&mut self) -> Result<Option<ScannedDocument>, Error> {
        while self.first.is_none() {
            self.first = self.page.next();
            if self.first.is_some() {
                break;
            }
            match self.pages.next(DOCUMENTS_PAGE_MAX).await? {
                Some(page) => self.page = page.into_iter(),
                None => break,
            }
        }
        Ok(self.first.clone())
    }

    fn pass(&mut self) {
        self.first = None;
    }
}
