//! Sessions in virtual time: a simulated LAN, its servers, and a machine on it.
