//! Who follows a download while it runs (D-163).

use super::{Method, Reason, Request};
use crate::url::Url;

/// Follows a download. A closure hears how far it is; `()` hears nothing.
pub trait Watch {
    /// Hears (bytes so far, bytes in all when known) at most every 100 ms while bytes arrive, and once at the end, when both
    /// are the same. The bytes so far go back to zero when a server does not resume but starts again.
    fn progress(&mut self, _done: u64, _total: Option<u64>) {}

    /// A request is about to be made, once the host's name is resolved; [`Watch::answered`] follows.
    fn asking(&mut self, _request: &Request<'_>) {}

    /// What a request led to.
    fn answered(&mut self, _exchange: &Exchange<'_>) {}

    /// Whether the rest of a download of `len` bytes is wanted that begins with `first`, about 4 KiB.
    fn wants(&mut self, _url: &Url, _first: &[u8], _len: u64) -> bool {
        true
    }
}

impl Watch for () {}

impl<F: FnMut(u64, Option<u64>)> Watch for F {
    fn progress(&mut self, done: u64, total: Option<u64>) {
        self(done, total);
    }
}

/// One request and its answer: a download that is redirected or resumed has several.
#[derive(Debug)]
pub struct Exchange<'e> {
    /// How it was asked for.
    pub method: Method,
    /// What was asked for.
    pub url: &'e Url,
    /// The answer's status; none without an answer, or where a protocol has none.
    pub status: Option<u16>,
    /// The length of the whole file in bytes, when the server told it.
    pub length: Option<u64>,
    /// How many bytes of the file came with this answer.
    pub received: u64,
    /// Where it was redirected to.
    pub redirect: Option<&'e Url>,
    /// Why it did not lead to the file.
    pub failure: Option<&'e Reason>,
}
