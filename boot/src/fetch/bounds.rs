//! The bounds of a download that several files know. Those of one file stand in it.

use super::pace::Pace;
use crate::patience;

/// A body must not trickle.
pub(super) const BODY_PACE: Pace = Pace {
    bytes: 1024,
    window: patience::BODY,
};
/// How many redirects are followed.
pub(super) const MAX_REDIRECTS: usize = 10;
