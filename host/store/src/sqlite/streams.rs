//! Listing streams.

use super::cell::Cells;
use super::reader::Reader;
use super::rows::head;
use super::tables::signed;
use crate::assemble::stream_id;
use crate::{ArchivedStreams, Result, STREAMS_PAGE_MAX, StreamFilter, StreamInfo, StreamsPage};
use quipu_model::{StreamId, Timestamp};

/// Streams that one statement searches for ones that are not archived.
const WINDOW: u64 = 10_000;

/// Streams of a range of names, from ?1 on and before ?2, at most ?3.
macro_rules! streams {
    ($from:literal, $only:literal) => {
        concat!(
            "SELECT s.name, s.stream_id, e.version, e.recorded_at, s.archived_at, \
             s.truncated_before FROM streams AS s ",
            $from,
            " LEFT JOIN events AS e ON e.stream_id = s.stream_id AND e.version = \
             (SELECT max(version) FROM events WHERE stream_id = s.stream_id) \
             WHERE s.name >= ?1 AND s.name < ?2 ",
            $only,
            " ORDER BY s.name LIMIT ?3"
        )
    };
}

const WITH: &str = streams!("", "");
const WITHOUT: &str = streams!("", "AND s.archived_at IS NULL");
const ONLY: &str = streams!(
    "INDEXED BY archived_stream",
    "AND s.archived_at IS NOT NULL"
);
const WINDOW_END: &str = "SELECT name FROM streams WHERE name >= ?1 AND name < ?2 \
    ORDER BY name LIMIT 1 OFFSET ?3";

impl Reader {
    /// A page of the list of streams.
    pub(super) async fn stream_page(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage> {
        let limit = limit.min(STREAMS_PAGE_MAX);
        let first = first_after(after);
        let mut streams = Vec::new();
        for (begin, end) in ranges(filter.category.as_deref()) {
            let begin = begin.max(first.clone());
            self.list(begin, &end, limit, filter.archived, &mut streams)
                .await?;
        }
        Ok(StreamsPage::new(streams, limit))
    }

    /// Adds the streams of a range, up to the limit.
    async fn list(
        &self,
        mut begin: String,
        end: &str,
        limit: usize,
        archived: ArchivedStreams,
        streams: &mut Vec<StreamInfo>,
    ) -> Result<()> {
        let sql = match archived {
            ArchivedStreams::Without => WITHOUT,
            ArchivedStreams::With => WITH,
            ArchivedStreams::Only => ONLY,
        };
        while streams.len() < limit && *begin < *end {
            let window = match archived {
                ArchivedStreams::Without => self.window_end(&begin, end).await?,
                ArchivedStreams::With | ArchivedStreams::Only => None,
            };
            let window_end = window.as_deref().unwrap_or(end);
            let rows = sqlx::query(sql)
                .bind(begin.as_str())
                .bind(window_end)
                .bind(signed((limit - streams.len()) as u64))
                .fetch_all(&self.pool)
                .await?;
            for row in rows {
                let head = head(&row)?;
                streams.push(StreamInfo {
                    stream: stream_id(row.cell(0)?)?,
                    version: head.version,
                    recorded_at: head.recorded_at,
                    archived_at: row
                        .cell::<Option<i64>>(4)?
                        .map(|at| Timestamp(at.unsigned_abs())),
                    truncated_before: head.truncated_before,
                });
            }
            match window {
                Some(next) => begin = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The name at which a statement that searches a window of a range stops.
    async fn window_end(&self, begin: &str, end: &str) -> Result<Option<String>> {
        let row = sqlx::query(WINDOW_END)
            .bind(begin)
            .bind(end)
            .bind(signed(WINDOW))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.cell(0)).transpose()
    }
}

/// The first name after one: names hold no control characters.
pub fn first_after(after: Option<&str>) -> String {
    after.map_or(String::new(), |after| format!("{after}\u{1}"))
}

/// The names of a category, or all of them, as ranges without their ends.
pub fn ranges(category: Option<&str>) -> Vec<(String, String)> {
    match category {
        // No name is as long.
        None => {
            let end = "\u{10FFFF}".repeat(StreamId::BYTES_MAX / 4 + 1);
            vec![(String::new(), end)]
        }
        // A category ends at the first dash.
        Some(category) if category.contains('-') => Vec::new(),
        Some(category) => vec![
            (category.to_owned(), format!("{category}\u{1}")),
            (format!("{category}-"), format!("{category}.")),
        ],
    }
}
