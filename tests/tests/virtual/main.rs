//! What runs in virtual time: sessions, and steps of them, on the simulated LAN or in the interpreter's own world.

mod ahead;
mod boots;
mod decisions;
mod dialects;
mod digest;
mod failures;
mod fetch;
mod handed_over;
mod lan;
mod local;
mod menus;
mod script;
mod script_network;
mod script_session;
mod session;
mod strangers;
mod terminal;
mod tftp;
