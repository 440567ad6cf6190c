//! The bounds of a download that several files know. Those of one file stand in it.

use smoltcp::time::Duration;

use super::pace::Pace;

/// How long a server may take to accept.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP server may think before its answer's head is complete: some build an image on demand, which takes them
/// a minute or two. A server that is gone is noticed much sooner.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a TFTP server may take to answer at all.
pub(super) const TFTP_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A body may pause for 15 s, and must not trickle: less than a full segment in that time is no transfer.
pub(super) const BODY_PACE: Pace = Pace {
    bytes: 1024,
    window: Duration::from_secs(15),
};
/// Two hours are enough for a gigabyte at 1 Mb/s, and a server cannot hold a node for longer, however often it breaks off.
pub(super) const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 10;
