//! iPXE scripts (<https://ipxe.org/scripting>): an interpreter that is a machine of frames, and what it may touch.
//!
//! `line` cuts the text into commands, `settings` and `value` are what `${…}` means, `images` is what was downloaded,
//! and the `cmd_` files are the commands. Nothing recurses: a chained script is one more frame, and one whose caller
//! has nothing left to do takes its caller's place, so that a script may chain to itself for as long as it likes.
//! Everything that happens goes through [`World`], and everything worth knowing to [`World::event`].

pub mod budget;
pub mod errno;
pub mod images;
pub mod line;
pub mod settings;
pub mod value;

mod boot;
mod cmd_flow;
mod cmd_images;
mod cmd_menus;
mod cmd_network;
mod cmd_settings;
mod commands;
mod console;
mod cpio;
mod error;
mod execute;
mod initrds;
mod machine;
mod options;
mod table;
mod world;

use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::Instant;

use crate::lease::{Fixed, Lease};
use crate::{Board, Region};
use budget::Share;
use errno::Failure;
pub use error::{Error, TOLD};
pub use execute::{MAX_DEPTH, MAX_IDLE_COMMANDS};
use images::Images;
use machine::Interpreter;
pub use machine::{Outcome, Script};
use settings::{Facts, Values};
pub use world::World;

/// The value of `text` with every `${…}` in it replaced, for a boot file or a menu's URL that names settings.
pub fn expand(text: &str, board: &Board<'_>, boot: &crate::Settings, lease: &Lease) -> String {
    if !text.contains("${") {
        return text.into();
    }
    let mut settings = Values::new(Facts::of(board, boot, Some(lease.clone())), Share::all());
    // What is wrong with one of them is said when a script runs.
    let _ = preset(&mut settings, boot);
    line::expand(text, &mut |name| settings.text(name)).unwrap_or_else(|_| text.into())
}

/// Sets what the operator has set for scripts.
fn preset(settings: &mut Values, boot: &crate::Settings) -> Result<(), Failure> {
    boot.presets.iter().try_for_each(|(name, value)| {
        let name = settings.name_to_store(name)?;
        settings.store_text(&name, value)
    })
}

/// Runs a script until something boots or nothing is left to do. What it downloads goes into `memory`.
// Inside a generic caller it would be optimised as the caller's crate is: for size.
#[inline(never)]
pub fn run(
    script: Script,
    memory: Region<'_>,
    board: &Board<'_>,
    boot: &crate::Settings,
    world: &mut dyn World,
) -> Result<Outcome, Error> {
    let facts = Facts::of(board, boot, world.lease());
    let url = script.url.clone();
    let budget = Share::all();
    let mut interpreter = Interpreter {
        world,
        board,
        settings: Values::new(facts, budget.other()),
        images: Images::new(memory, budget.other()),
        frames: Vec::new(),
        menus: Vec::new(),
        person: Default::default(),
        parameters: Vec::new(),
        trust: (false, false),
        until: Instant::ZERO,
        errands: 0,
        may_power_off: boot.poweroff,
        idle: 0,
        breath: 0,
        misses: 0,
        trouble: false,
        budget,
        fixed: Fixed::default(),
        vlans: Vec::new(),
        epoch: 0,
    };
    preset(&mut interpreter.settings, boot).map_err(Error::Failed)?;
    interpreter.tell_time();
    interpreter.attended();
    let id = interpreter.take_in(script).map_err(Error::Failed)?;
    interpreter.execute(id).map_err(Error::Failed)?;
    let ended = interpreter.run();
    // What came after trouble is none of a server's words (D-212).
    match ended {
        Ok(outcome) => Ok(outcome),
        Err(Some(failure)) if failure.expected && !interpreter.trouble => Err(Error::Left(failure)),
        Err(Some(failure)) => Err(Error::Failed(failure)),
        Err(None) if !interpreter.trouble => Err(Error::Ended(url)),
        Err(None) => Err(Error::EndedInTrouble(url)),
    }
}
