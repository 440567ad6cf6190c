//! USB 2.0 host: the controller (`dwc2`), one transfer in its words (`transfer`), control and bulk transfers (`pipe`),
//! what devices say of themselves (`descriptor`), finding them (`bus`), and lending it all to their drivers (`host`).

pub(crate) mod bus;
pub(crate) mod descriptor;
pub(crate) mod dwc2;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(any(test, fuzzing))]
pub(crate) mod grammar;
pub(crate) mod host;
#[cfg(test)]
pub(crate) mod peripheral;
pub(crate) mod pipe;
pub(crate) mod transfer;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use bus::fuzzed as search;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use descriptor::fuzzed as describe;
pub use dwc2::Dwc2;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use grammar::fuzzed as grown;
pub use host::Host;
pub use transfer::Error;
