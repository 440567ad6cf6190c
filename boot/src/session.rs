//! One boot from lease to handoff, and what happens when an attempt fails.

use smoltcp::phy::Device;
use smoltcp::time::Duration;

use crate::fetch::Fetcher;
use crate::lease::Identity;
use crate::load::{self, Seeds};
use crate::net::Net;
use crate::{Board, Console, Entropy, Error, Handoff, Machine, Region, Settings, menu};

/// How often a long download says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Boots: returns a kernel that is ready to run, or, after `settings.attempts` failures, the last error.
pub fn run<N: Device>(machine: Machine<'_, N>, settings: &Settings) -> Result<Handoff, Error> {
    let Machine {
        nic,
        clock,
        console,
        mut memory,
        entropy,
        board,
        platform,
    } = machine;
    let mut net = Net::new(nic, clock, platform, entropy, Identity::of(board));
    // Its socket lives in `net`: one for all attempts.
    let mut fetcher = Fetcher::new();
    let mut failures: u32 = 0;
    loop {
        let result = attempt(
            &mut net,
            &mut fetcher,
            console,
            memory.reborrow(),
            entropy,
            board,
            settings,
        );
        // While the address is still ours: a server that hears nothing more keeps its connections, and has few.
        fetcher.close(&mut net);
        let error = match result {
            Ok(handoff) => return Ok(handoff),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        error!("{}", error);
        if settings.attempts.is_some_and(|limit| failures >= limit) {
            return Err(error);
        }
        let pause = backoff(failures, net.random());
        info!(
            "retry: attempt {} in {} ms",
            failures.saturating_add(1),
            pause.total_millis()
        );
        let deadline = net.now() + pause;
        let _: Option<()> = net.wait(deadline, |_| None);
        // What the servers said led nowhere; an operator may have changed it meanwhile.
        net.ask_again();
    }
}

/// The pipeline, once. Each line is a step of the picture in `lib.rs`.
fn attempt<N: Device>(
    net: &mut Net<'_, N>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    mut memory: Region<'_>,
    entropy: &mut dyn Entropy,
    board: &Board<'_>,
    settings: &Settings,
) -> Result<Handoff, Error> {
    let lease = net.lease();
    let menu = menu::find(net, fetcher, &lease, board, settings, memory.bytes_mut())?;
    let payload = menu::choose(net, console, &menu, &lease, board)?;
    let seeds = Seeds::draw(entropy);
    load::load(&payload, memory, board, &seeds, &mut |url, into| {
        let clock = net.clock();
        let mut next = clock.now() + PROGRESS;
        fetcher.get(net, url, into, &mut |done, total| {
            if clock.now() >= next {
                next = clock.now() + PROGRESS;
                // Without a length the server has not said how much will come.
                info!(
                    "fetch: {}: {} of {} KiB",
                    url,
                    done / 1024,
                    total.unwrap_or_default() / 1024
                );
            }
        })
    })
}

/// The pause after the `failures`th failure: 1 s, 2 s, 4 s … 60 s, each shortened by up to half at random, so that
/// a rack of nodes that failed together does not come back together.
fn backoff(failures: u32, random: u32) -> Duration {
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
