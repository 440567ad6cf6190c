//! bench
use std::process::ExitCode;
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    println!("{}", crate::builtin::build()?.display());
    Ok(ExitCode::SUCCESS)
}
