//! Pauses before something that failed is tried again.

use smoltcp::time::Duration;

/// The pause after the `failures`th failure: 1 s, 2 s, 4 s … 60 s, each shortened by up to half at random, so that
/// a rack of nodes that failed together does not come back together (D-35).
pub(crate) fn backoff(failures: u32, random: u32) -> Duration {
    let ceiling = 1000_u64
        .checked_shl(failures.saturating_sub(1).min(6))
        .unwrap_or(60_000)
        .min(60_000);
    let half = ceiling / 2;
    Duration::from_millis(
        half.saturating_add(u64::from(random).checked_rem(half.saturating_add(1)).unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_a_minute_and_never_below_half() {
        assert_eq!(backoff(1, 0).total_millis(), 500);
        assert_eq!(
            backoff(3, u32::MAX).total_millis() / 1000,
            2 + u64::from(u32::MAX) % 2001 / 1000
        );
        for failures in 1..100 {
            for random in [0, 1, u32::MAX / 3, u32::MAX] {
                let pause = backoff(failures, random).total_millis();
                assert!((500..=60_000).contains(&pause), "{failures} {random} {pause}");
            }
        }
    }
}
