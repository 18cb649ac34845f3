//! `haetae keygen`: makes the Ed25519 key that signs a log, in the signed-note encoding (C2SP).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tlog::key::{Kind, SigningKey};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The key's name: the log's origin, a host name and path without scheme, e.g. `gateway.example.kr/log`.
    #[arg(long)]
    origin: String,
    /// Where the secret key goes; made with mode 0600, never overwritten.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).context("no source of randomness")?;
    let key = SigningKey::from_seed(&args.origin, Kind::Ed25519, &seed)
        .ok()
        .with_context(|| format!("`{}` cannot be the name of a key", args.origin))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| format!("cannot make `{}`", args.out.display()))?;
    writeln!(file, "{}", key.to_skey())?;
    file.sync_all()?;
    println!("{}", key.verifier());
    eprintln!(
        "the secret key is in `{}`; give the line above, the public key, to everyone who verifies",
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
