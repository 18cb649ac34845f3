//! `haetae keygen`: makes the Ed25519 key that signs a log and prints its public keys in the signed-note encoding (C2SP).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::audit::Key;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The log's origin, a host name and path without scheme, e.g. `gateway.example.kr/log`; a lane's key is named
    /// `<origin>/<lane>`.
    #[arg(long)]
    origin: String,
    /// Lanes of the deployment: as many public keys are printed.
    #[arg(long, default_value_t = 2)]
    lanes: u16,
    /// Where the secret key goes; made with mode 0600, never overwritten.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = Key::generate()?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| format!("cannot make `{}`", args.out.display()))?;
    file.write_all(key.to_pem()?.as_bytes())?;
    file.sync_all()?;
    for lane in 0..args.lanes {
        println!("{}", key.vkey(&args.origin, lane)?);
    }
    eprintln!(
        "the secret key is in `{}`; give the lines above, one public key for each lane, to everyone who verifies",
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

const AFTER_HELP: &str = "\
For example:
  haetae keygen --origin gateway.example.kr/log --out secrets/log.key > log.vkeys
Standard output has the public keys, a line for each lane: give them to whoever verifies, by a way that they trust.
`haetae log verify --vkey LINE` and `haetae-verify --key LINE FILE` take them.";
