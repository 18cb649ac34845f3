//! The command line: one match on what was typed; exit codes say how it went.

use std::io::Write as _;
use std::process::ExitCode;

use haetae::cli::log::NotVerified;

fn main() -> ExitCode {
    match haetae::cli::run() {
        Ok(code) => code,
        Err(error) => {
            // The one place where an error of a command is printed: outer message first, then its causes.
            // Nobody may be listening; the exit code says it all the same.
            let _nobody = writeln!(std::io::stderr(), "haetae: {error:#}");
            if error.is::<NotVerified>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
