//! Generated cases by their seeds: which, and one after the other on all of the host's processors.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The seeds that `variable` names, as `17`, so many from 0 on, or as `5..17`; `count` from 0 on without it.
pub fn range(variable: &str, count: u64) -> Range<u64> {
    let Ok(value) = std::env::var(variable) else {
        return 0..count;
    };
    let (first, end) = value.split_once("..").unwrap_or(("0", &value));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{variable}={value}"));
    number(first)..number(end)
}

/// What `case` makes of each seed, in the order of the seeds.
pub fn each<T: Send>(seeds: Range<u64>, case: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
    let (next, results) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let result = case(seed);
                    results
                        .lock()
                        .expect("no panic while it is held")
                        .push((seed, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort_by_key(|(seed, _)| *seed);
    results
}
