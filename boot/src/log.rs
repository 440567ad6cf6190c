//! Log lines `step: fact`: one set of call sites, text by default, defmt frames with the `defmt` feature.
//!
//! A call site is a format string literal that begins with its step and has only `{}` holes, and arguments that
//! are `Display`: `info!("lease: {} from {}", address, server)`. Both encodings can carry exactly that (D-37).
//! What fills the holes is cleaned here, whoever prints it (D-178).

/// A fact that a person who watches a boot wants to know.
#[macro_export]
macro_rules! info {
    ($format:literal $(, $argument:expr)* $(,)?) => { $crate::log_at!(info, $format $(, $argument)*) };
}

/// Something wrong that the boot survives.
#[macro_export]
macro_rules! warn {
    ($format:literal $(, $argument:expr)* $(,)?) => { $crate::log_at!(warn, $format $(, $argument)*) };
}

/// A failed attempt.
#[macro_export]
macro_rules! error {
    ($format:literal $(, $argument:expr)* $(,)?) => { $crate::log_at!(error, $format $(, $argument)*) };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "defmt"))]
macro_rules! log_at {
    ($level:ident, $format:literal $(, $argument:expr)*) => {
        $crate::log_text::$level!($format $(, $crate::Clean(&($argument)))*)
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(feature = "defmt")]
macro_rules! log_at {
    ($level:ident, $format:literal $(, $argument:expr)*) => {
        defmt::$level!($format $(, defmt::Display2Format(&$crate::Clean(&($argument))))*)
    };
}
