//! The command line: one match on what was typed; exit codes say how it went.

use std::process::ExitCode;

fn main() -> ExitCode {
    match haetae::cli::run() {
        Ok(code) => code,
        Err(error) => {
            // The one place where an error of a command is printed: outer message first, then its causes.
            eprintln!("haetae: {error:#}");
            ExitCode::FAILURE
        }
    }
}
