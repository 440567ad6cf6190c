//! USB 2.0 host: the controller (`dwc2`), one transfer in its words (`transfer`), control and bulk transfers (`pipe`),
//! what devices say of themselves (`descriptor`), and finding them (`bus`).

pub(crate) mod bus;
pub(crate) mod descriptor;
pub(crate) mod dwc2;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod peripheral;
pub(crate) mod pipe;
pub(crate) mod transfer;

pub use dwc2::Dwc2;
pub use transfer::Error;
