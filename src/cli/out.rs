//! What commands print. The standard library's macros panic where nobody reads any more (`| head -1`) and where the disk is full; these hide
//! them from the modules of this room. Who stopped reading has seen enough, and the exit code says the rest; a full disk is an error.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::anyhow;

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::out::put(format_args!($($text)*)) };
}

macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::out::tell(format_args!($($text)*)) };
}

macro_rules! eprintln {
    () => { eprint!("\n") };
    ($($text:tt)*) => { eprint!("{}\n", format_args!($($text)*)) };
}

/// On standard output; what went wrong there [`written`] says.
pub(super) fn put(text: fmt::Arguments<'_>) {
    keep(io::stdout().write_fmt(text));
}

/// On standard error: when that fails, there is nobody left to tell.
pub(super) fn tell(text: fmt::Arguments<'_>) {
    let _nobody = io::stderr().write_fmt(text);
}

/// The exit code of what was done; an error where all would be well, had what was printed not been lost.
///
/// # Errors
/// When standard output did not take it.
pub(super) fn written(code: ExitCode) -> anyhow::Result<ExitCode> {
    keep(io::stdout().flush());
    let Some(cause) = LOST.get() else { return Ok(code) };
    let cause = format!("standard output cannot be written, and is not whole: {cause}");
    if code == ExitCode::SUCCESS {
        return Err(anyhow!(cause));
    }
    eprintln!("haetae: {cause}");
    Ok(code)
}

fn keep(done: io::Result<()>) {
    if let Err(cause) = done
        && cause.kind() != ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| cause);
    }
}

/// Why something that was printed is lost: the first cause.
static LOST: OnceLock<io::Error> = OnceLock::new();
