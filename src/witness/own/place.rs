//! Which lane the witness's own log is now, and what of it was signed last: by a note beside the key, in another place than the state.
//!
//! A lane whose records are gone is never signed again. The next one has a number 16 higher, as a gateway's has
//! (docs/decisions/0018), and a key and an origin of its own. That they are gone is for the operator to say: he makes its directory.
//!
//! *Invariant:* where such a note was written once, nothing later is served that it does not know.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tlog::key::{KeyError, Kind};
use tlog::note::NoteError;
use tlog::{Checkpoint, Note, Signer as _, SigningKey};

use crate::disk;
use crate::witness::WitnessError;

/// What was signed last.
pub(super) struct Signed {
    pub lane: u16,
    pub checkpoint: Checkpoint,
}

/// The note beside the key.
pub(super) struct Beside {
    path: PathBuf,
}

impl Beside {
    /// `key` is the file of the secret key.
    pub fn of(key: &Path) -> Self {
        let mut path = key.as_os_str().to_owned();
        path.push(SUFFIX);
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A note of another key, which had its place before, does not count.
    pub fn read(&self, key: &SigningKey) -> Result<Option<Signed>, WitnessError> {
        let text = disk::read_text(&self.path)
            .map_err(|cause| WitnessError::Read { path: self.path.clone(), cause })?;
        let Some(text) = text else { return Ok(None) };
        signed(&text, key).map_err(|cause| WitnessError::State {
            path: self.path.clone(),
            cause: format!("{cause}; take it away only if the state is the newest that there was"),
        })
    }

    /// Blocks for as long as the disk takes to sync.
    pub fn write(&self, note: &str) -> io::Result<()> {
        match disk::replace(&self.path, note.as_bytes()) {
            // Keys may lie where nobody writes. Nothing is less safe then than without it; an old one that stays is.
            Err(cause) if !self.path.exists() => {
                let path = self.path.display();
                tracing::warn!(%path, %cause, "a log of the witness's own that is lost will not be missed at the start");
                Ok(())
            }
            other => other,
        }
    }
}

fn signed(text: &str, key: &SigningKey) -> Result<Option<Signed>, String> {
    let note: Note = text.parse().map_err(|_| "it is not a note".to_owned())?;
    let checkpoint: Checkpoint =
        note.text().parse().map_err(|_| "it is not a checkpoint".to_owned())?;
    let Some(lane) = number(key, &checkpoint.origin) else { return Ok(None) };
    let signer = derive(key, lane).map_err(|cause| cause.to_string())?;
    match note.verify([signer.verifier()]) {
        Ok(_) => Ok(Some(Signed { lane, checkpoint })),
        Err(NoteError::Unsigned) => Ok(None),
        Err(cause) => Err(cause.to_string()),
    }
}

/// The latest lane that was signed, or that has a directory.
pub(super) fn lane(state: &Path, signed: Option<&Signed>) -> u16 {
    let has_directory = |lane: &u16| dir(state, *lane).is_dir();
    let there = (0..=LANE_MAX).step_by(LATER.into()).filter(has_directory).max();
    there.max(signed.map(|signed| signed.lane)).unwrap_or(0)
}

/// The one that goes on where this one's records are gone.
pub(super) const fn after(lane: u16) -> u16 {
    lane.saturating_add(LATER)
}

pub(super) fn dir(state: &Path, lane: u16) -> PathBuf {
    if lane == 0 { state.join("log") } else { state.join(format!("log-{lane}")) }
}

/// The key of a lane: of its own, so that a trust file can list all, and from the same secret.
pub(super) fn derive(key: &SigningKey, lane: u16) -> Result<SigningKey, KeyError> {
    let mut seed = Sha256::new().chain_update(DERIVE).chain_update(key.to_skey());
    if lane != 0 {
        seed.update(format!("\0{lane}"));
    }
    SigningKey::from_seed(&origin(key, lane), Kind::Ed25519, &seed.finalize().into())
}

fn origin(key: &SigningKey, lane: u16) -> String {
    format!("{}/log/{lane}", key.verifier().name())
}

/// Of the lane with this origin, where it is one of this key's.
fn number(key: &SigningKey, of: &str) -> Option<u16> {
    let lane = of.rsplit_once('/')?.1.parse().ok()?;
    (lane <= LANE_MAX && lane % LATER == 0 && origin(key, lane) == of).then_some(lane)
}

const SUFFIX: &str = ".signed";
/// As much higher is the number of a lane's next generation.
const LATER: u16 = 16;
const LANE_MAX: u16 = 4_095;
/// Sets this key apart from any other use of the secret.
const DERIVE: &[u8] = b"haetae witness log key v1\0";
