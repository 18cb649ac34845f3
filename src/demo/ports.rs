//! Where the demo's parts listen, and how it is known that a part of this demo listens there.
//!
//! *Invariant:* a connection proves nothing: another server of this machine may have taken the port since it was chosen.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Result;

/// This port on loopback if it is free, else any: nothing of ours listens there yet.
pub fn free(wish: u16) -> Result<SocketAddr> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let wished = (wish != 0).then(|| bind(wish)).and_then(Result::ok);
    let mut tries = (0..TRIES_MAX).map(|_| unlent());
    let found = wished.or_else(|| tries.find_map(|port| bind(port.ok()?).ok()));
    Ok(found.map_or_else(|| bind(0), Ok)?.local_addr()?)
}

/// A port that the kernel gives nobody who does not name it (`ip_local_port_range` begins above).
fn unlent() -> Result<u16, getrandom::Error> {
    let mut chance = [0; 2];
    getrandom::fill(&mut chance)?;
    Ok(10_000 + u16::from_le_bytes(chance) % 20_000)
}

/// What one start of a process wrote to a log that earlier starts may have written to.
pub struct Said {
    log: PathBuf,
    before: u64,
}

impl Said {
    /// From what is in the log now.
    pub fn after(log: &Path) -> Self {
        let before = log.metadata().map_or(0, |file| file.len());
        Self { log: log.to_owned(), before }
    }

    /// True when the process wrote that it listens: it holds its addresses.
    pub fn is_ready(&self) -> Result<bool> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.before))?;
        let mut since = Vec::new();
        file.read_to_end(&mut since)?;
        Ok(since.windows(READY.len()).any(|words| words == READY))
    }
}

const TRIES_MAX: usize = 100;
/// What `haetae serve` and `haetae guard serve` write when every listener of theirs is bound.
const READY: &[u8] = b"is ready to serve";

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_port_that_is_taken_is_not_given() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = held.local_addr().unwrap().port();
        assert_ne!(free(taken).unwrap().port(), taken);
        let given = free(0).unwrap();
        assert!(given.ip().is_loopback() && given.port() != 0);
    }

    #[test]
    fn a_process_is_ready_by_its_own_word_not_by_that_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("guard.log");
        assert!(Said::after(&log).is_ready().is_err(), "there is no log");
        std::fs::write(&log, "INFO the guard is ready to serve\n").unwrap();
        let said = Said::after(&log);
        assert!(!said.is_ready().unwrap());
        let mut file = File::options().append(true).open(&log).unwrap();
        file.write_all(b"INFO the guard is ready to serve site=kr-seo-1\n").unwrap();
        assert!(said.is_ready().unwrap());
    }
}
