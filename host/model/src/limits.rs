use super::NewEvent;

/// Longest reason that somebody gives for an action, or the host for a finding, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Limits of one append. Each is configurable and has its own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendLimits {
    /// Events per append.
    pub events_max: usize,
    /// Bytes of one event's data.
    pub event_bytes_max: usize,
    /// Bytes of data and metadata per append.
    pub append_bytes_max: usize,
    /// Bytes of metadata per event or command.
    pub metadata_bytes_max: usize,
    /// Bytes of an event's or command's type.
    pub type_bytes_max: usize,
    /// Tags per event.
    pub tags_max: usize,
    /// Bytes of one tag.
    pub tag_bytes_max: usize,
}

impl Default for AppendLimits {
    fn default() -> Self {
        Self {
            events_max: 1_000,
            event_bytes_max: 1 << 20,
            append_bytes_max: 16 << 20,
            metadata_bytes_max: 64 << 10,
            type_bytes_max: 255,
            tags_max: 64,
            tag_bytes_max: 255,
        }
    }
}

/// An append that exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found} is more than {max}")]
pub struct TooLarge {
    /// The quantity that is limited, with its unit.
    pub what: &'static str,
    /// The value found.
    pub found: usize,
    /// The highest value allowed.
    pub max: usize,
}

impl AppendLimits {
    /// Returns limits `times` as high as these. Limits below the default are first raised to it.
    pub fn wider(&self, times: usize) -> Self {
        let usual = Self::default();
        let wider = |own: usize, usual: usize| own.max(usual).saturating_mul(times);
        Self {
            events_max: wider(self.events_max, usual.events_max),
            event_bytes_max: wider(self.event_bytes_max, usual.event_bytes_max),
            append_bytes_max: wider(self.append_bytes_max, usual.append_bytes_max),
            metadata_bytes_max: wider(self.metadata_bytes_max, usual.metadata_bytes_max),
            type_bytes_max: wider(self.type_bytes_max, usual.type_bytes_max),
            tags_max: wider(self.tags_max, usual.tags_max),
            tag_bytes_max: wider(self.tag_bytes_max, usual.tag_bytes_max),
        }
    }

    /// Checks one append.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn check<'a>(
        &self,
        events: impl IntoIterator<Item = &'a NewEvent>,
    ) -> Result<(), TooLarge> {
        let (mut total, mut count) = (0usize, 0usize);
        for event in events {
            count += 1;
            let metadata = event.metadata.as_ref().map_or(0, bytes::Bytes::len);
            within(
                "bytes of an event's type",
                event.name.len(),
                self.type_bytes_max,
            )?;
            within("bytes per event", event.body.len(), self.event_bytes_max)?;
            within("bytes of metadata", metadata, self.metadata_bytes_max)?;
            within("tags per event", event.tags.len(), self.tags_max)?;
            for tag in &event.tags {
                within("bytes of a tag", tag.len(), self.tag_bytes_max)?;
            }
            total = total
                .saturating_add(event.body.len())
                .saturating_add(metadata);
        }
        within("events per append", count, self.events_max)?;
        within("bytes per append", total, self.append_bytes_max)
    }

    /// Checks the body, metadata and type of one command.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn check_command(&self, command: &super::Command) -> Result<(), TooLarge> {
        let metadata = command.metadata.as_ref().map_or(0, bytes::Bytes::len);
        within(
            "bytes of a command's type",
            command.name.len(),
            self.type_bytes_max,
        )?;
        within(
            "bytes per command",
            command.body.len(),
            self.event_bytes_max,
        )?;
        within("bytes of metadata", metadata, self.metadata_bytes_max)
    }
}

fn within(what: &'static str, found: usize, max: usize) -> Result<(), TooLarge> {
    if found <= max {
        Ok(())
    } else {
        Err(TooLarge { what, found, max })
    }
}
