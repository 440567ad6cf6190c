//! One download over all its requests: how much has come of what, and who is told.

use alloc::string::String;

use smoltcp::time::{Duration, Instant};

use super::error::Reason;
use super::request::ByteRange;
use super::sink::Sink;
use super::watch::Watch;

/// The least time between two calls of [`Watch::progress`].
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a source needs to know of a download, and leaves in it.
pub(super) struct Transfer<'a, 'm> {
    pub(super) sink: &'a mut Sink<'m>,
    /// How many bytes came with the last answer.
    pub(super) came: u64,
    /// The length of the file, when known.
    pub(super) total: Option<u64>,
    /// What tells the server which version of the file those bytes are from.
    pub(super) validator: Option<String>,
    pub(super) watch: &'a mut dyn Watch,
    /// When it heard last how far the download is.
    reported: Instant,
    /// Until when it may take.
    pub(super) end: Instant,
    /// Whether the answer's head is enough.
    pub(super) looks: bool,
}

impl<'a, 'm> Transfer<'a, 'm> {
    /// Nothing has come yet.
    pub(super) fn new(
        sink: &'a mut Sink<'m>,
        watch: &'a mut dyn Watch,
        start: Instant,
        end: Instant,
    ) -> Self {
        Self {
            sink,
            came: 0,
            total: None,
            validator: None,
            watch,
            reported: start,
            end,
            looks: false,
        }
    }

    /// The part to ask for, when only that is missing.
    pub(super) fn missing(&self) -> Option<ByteRange<'_>> {
        let filled = self.sink.filled();
        let validator = self.validator.as_deref().filter(|_| filled > 0)?;
        Some(ByteRange {
            from: filled as u64,
            validator,
        })
    }

    /// The file follows from its start, of this length and version, as far as they are known. What came before counts no more.
    pub(super) fn begin(&mut self, len: Option<u64>, validator: Option<String>) -> Result<(), Reason> {
        self.sink.restart();
        (self.total, self.validator) = (len, validator);
        let space = self.sink.space();
        match len {
            Some(len) if len > space as u64 && !self.looks => Err(Reason::TooLarge {
                len: Some(len),
                space,
            }),
            _ => Ok(()),
        }
    }

    /// Tells how far it is, when it is time to.
    pub(super) fn tell(&mut self, now: Instant) {
        if now - self.reported >= PROGRESS_INTERVAL {
            self.reported = now;
            self.watch.progress(self.sink.filled() as u64, self.total);
        }
    }

    /// Tells that all has come.
    pub(super) fn report(&mut self) {
        self.watch.progress(
            self.sink.filled() as u64,
            self.total.or(Some(self.sink.filled() as u64)),
        );
    }
}
