//! `haetae keygen`: makes the Ed25519 key that signs a log and prints its public keys in the signed-note encoding (C2SP), or
//! as a trust file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tlog::tile::check_origin;

use super::secret;
use crate::audit::Key;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The log's origin, a host name and path without scheme, e.g. `gateway.example.kr/log`; a lane's key is named
    /// `<origin>/<lane>`.
    #[arg(long)]
    origin: String,
    /// Lanes of the deployment: as many public keys are printed.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    lanes: u16,
    /// Generation of the lanes: one more for each time that the database lost records (docs/decisions/0018).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=255))]
    generation: u16,
    /// Where the secret key goes; made with mode 0600, never overwritten.
    #[arg(long, required_unless_present = "of")]
    out: Option<PathBuf>,
    /// Make nothing: print the public keys of this key file.
    #[arg(long, conflicts_with = "out")]
    of: Option<PathBuf>,
    /// Print a trust file (C2SP tlog-policy) that asks for no witness, instead of bare keys.
    #[arg(long)]
    trust: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Before a file is written. Public keys of what is there are printed all the same.
    if args.of.is_none() {
        let origin = &args.origin;
        check_origin(origin).with_context(|| format!("`{origin}` cannot be a log's origin"))?;
    }
    let key = match (&args.of, &args.out) {
        (Some(of), _) => Key::read(of)?,
        (None, Some(out)) => make(out)?,
        (None, None) => {
            anyhow::bail!("give `--out FILE` for a new key, or `--of FILE` for one that is there")
        }
    };
    for slot in 0..args.lanes {
        let vkey = key.vkey(&args.origin, args.generation * GENERATION + slot)?;
        println!("{}{vkey}", if args.trust { "log " } else { "" });
    }
    if args.trust {
        println!("quorum none");
    }
    if let Some(out) = &args.out {
        eprintln!(
            "the secret key is in `{}`; give the lines above, one public key for each lane, to everyone who verifies",
            out.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn make(out: &Path) -> anyhow::Result<Key> {
    let key = Key::generate()?;
    secret::write(out, &key.to_pem()?)?;
    Ok(key)
}

/// Generations of one lane are so many numbers apart, and there are as many lanes at most (docs/record.md).
const GENERATION: u16 = 16;

const AFTER_HELP: &str = "\
For example:
  haetae keygen --origin gateway.example.kr/log --out secrets/log.key > log.vkeys
  haetae keygen --origin gateway.example.kr/log --of secrets/log.key --trust > trust.policy     for the sites' guards
  haetae keygen --origin gateway.example.kr/log --of secrets/log.key --generation 1    after the database lost records
Standard output has the public keys, a line for each lane: give them to whoever verifies, by a way that they trust.
`haetae log verify --vkey LINE` and `haetae-verify --key LINE FILE` take them.";
