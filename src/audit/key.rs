//! The log's signing keys: one secret for the deployment, of which each lane has an Ed25519 key of its own.
//!
//! *Invariant:* nothing else of the room signs, and it signs through [`tlog::Signer`] alone: a key module, or another
//! algorithm, takes the place of [`LaneKey`] in [`Signers`] and nowhere else.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding,
};
use sha2::{Digest as _, Sha256};
use tlog::{
    Checkpoint, Note, Signer, SigningKey, VerifierKey,
    key::{KeyError, Kind, SignError},
};
use zeroize::Zeroizing;

use super::{AuditError, chance, seal::Seals};

/// The private key of the log. Never printed; its bytes are erased when it is dropped.
#[derive(Clone)]
pub struct Key(ed25519_dalek::SigningKey);

impl Key {
    /// A new random key.
    pub fn generate() -> Result<Self, AuditError> {
        chance::bytes().map(|seed| Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads a PKCS#8 PEM file, as `haetae keygen` and `openssl genpkey -algorithm ed25519` write it.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let cause = |cause: String| AuditError::Key { path: path.display().to_string(), cause };
        let pem = std::fs::read_to_string(path).map_err(|error| cause(error.to_string()))?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem);
        key.map(Self).map_err(|error| cause(error.to_string()))
    }

    /// PKCS#8 PEM, for the key file alone.
    pub fn to_pem(&self) -> Result<String, AuditError> {
        let cause = |cause: ed25519_dalek::pkcs8::Error| AuditError::Key {
            path: "a new key".to_owned(),
            cause: cause.to_string(),
        };
        self.0.to_pkcs8_pem(LineEnding::LF).map(|pem| pem.to_string()).map_err(cause)
    }

    /// The public key of a lane in the text form of C2SP (`origin/lane+id+base64`): what a reviewer trusts.
    pub fn vkey(&self, origin: &str, lane: u16) -> Result<String, AuditError> {
        Ok(self.signer(origin, lane)?.verifier().to_string())
    }

    /// The key under another name, for what is no log: an authority's orders.
    pub fn named(&self, name: &str) -> Result<SigningKey, AuditError> {
        SigningKey::from_seed(name, Kind::Ed25519, self.0.as_bytes())
            .map_err(|cause| AuditError::Origin { origin: name.to_owned(), cause })
    }

    /// Each lane has a key of its own: a trust file (C2SP tlog-policy) may not list one public key for two logs.
    pub fn signer(&self, origin: &str, lane: u16) -> Result<impl Signer + use<>, AuditError> {
        let name = lane_origin(origin, lane);
        LaneKey::from_seed(&name, &self.derived(DERIVE, &name))
            .map_err(|cause| AuditError::Origin { origin: origin.to_owned(), cause })
    }

    /// A key of its own for each use and name: the secret is 32 uniform bytes, so a hash of it under them is one.
    pub(super) fn derived(&self, usage: &[u8], name: &str) -> Zeroizing<[u8; 32]> {
        let seed = Sha256::new().chain_update(usage).chain_update(name).chain_update([0]);
        Zeroizing::new(seed.chain_update(self.0.as_bytes()).finalize().into())
    }
}

/// A lane's key in this process, with the library that TLS has in the tree: whoever waits for a commit waits for its signature
/// too, and this one takes less than half the time of the other. Its bytes are erased when it is dropped, and never printed.
struct LaneKey {
    verifier: VerifierKey,
    pair: Ed25519KeyPair,
}

impl LaneKey {
    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Point)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Point)?;
        Ok(Self { verifier: VerifierKey::new(name, Kind::Ed25519, public)?, pair })
    }
}

impl Signer for LaneKey {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signed = self.pair.try_sign(message);
        signed
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SignError::Module("the library did not".to_owned()))
    }
}

/// What signs the checkpoints of one lane: the first key, and while keys change the other one too.
pub(super) struct Signers {
    first: Box<dyn Signer>,
    also: Vec<Box<dyn Signer>>,
    pub seals: Seals,
}

impl Signers {
    pub fn new(keys: &[Key], origin: &str, lane: u16) -> Result<Self, AuditError> {
        let (first, also) = keys.split_first().ok_or(AuditError::Config("no signing key"))?;
        let signer = |key: &Key| -> Result<Box<dyn Signer>, AuditError> {
            Ok(Box::new(key.signer(origin, lane)?))
        };
        let also = also.iter().map(signer).collect::<Result<_, _>>()?;
        let seals = Seals::new(keys, &lane_origin(origin, lane));
        Ok(Self { first: signer(first)?, also, seals })
    }

    /// The key by which the lane is known.
    pub fn verifier(&self) -> &VerifierKey {
        self.first.verifier()
    }

    /// The name of the lane.
    pub fn origin(&self) -> &str {
        self.verifier().name()
    }

    /// The tree of a note that one of the keys signed.
    pub fn read(&self, note: &str) -> Option<Checkpoint> {
        let note: Note = note.parse().ok()?;
        let also = self.also.iter().map(|signer| signer.verifier());
        note.verify([self.verifier()].into_iter().chain(also)).ok()?;
        let checkpoint: Checkpoint = note.text().parse().ok()?;
        (checkpoint.origin == self.origin()).then_some(checkpoint)
    }

    /// Public keys of the others.
    pub fn also(&self) -> Vec<String> {
        self.also.iter().map(|signer| signer.verifier().to_string()).collect()
    }

    /// The checkpoint with a signature of each key.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<Note, SignError> {
        let mut note = checkpoint.sign(&*self.first)?;
        for signer in &self.also {
            note.add(&**signer)?;
        }
        Ok(note)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key")
    }
}

/// `<deployment origin>/<lane>`: the lane's origin and the name of its key.
pub(super) fn lane_origin(origin: &str, lane: u16) -> String {
    format!("{origin}/{lane}")
}

/// Sets these keys apart from any other use of the secret.
const DERIVE: &[u8] = b"haetae lane key v1\0";

#[cfg(test)]
mod tests {
    //! Keys of lanes are apart, the same each time, and sign together while they change.

    use super::*;

    fn key(seed: u8) -> Key {
        Key(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    #[test]
    fn a_trust_file_can_list_every_lane() {
        let key = key(1);
        let vkeys: Vec<String> =
            (0..3).map(|lane| key.vkey("gw.example/log", lane).unwrap()).collect();
        assert_eq!(key.vkey("gw.example/log", 1).unwrap(), vkeys[1]);
        let logs = vkeys.join("\nlog ");
        let policy: tlog::Policy = format!("log {logs}\nquorum none\n").parse().unwrap();
        assert_eq!(policy.logs.len(), 3);
        assert_ne!(
            key.vkey("other.example/log", 0).unwrap().split('+').nth(2),
            vkeys[0].split('+').nth(2)
        );
    }

    #[test]
    fn both_libraries_sign_alike() {
        let seed = [7; 32];
        let (ours, other) = (
            LaneKey::from_seed("gw.example/log/0", &seed).unwrap(),
            SigningKey::from_seed("gw.example/log/0", Kind::Ed25519, &seed).unwrap(),
        );
        assert_eq!(ours.verifier(), other.verifier());
        assert_eq!(ours.sign(b"text\n").unwrap(), other.sign(b"text\n").unwrap());
    }

    #[test]
    fn while_keys_change_a_reader_of_either_trusts_the_checkpoint() {
        let (old, new) = (key(1), key(2));
        let checkpoint = Checkpoint::new("gw.example/log/0".into(), 7, tlog::Hash::EMPTY);
        let signers = Signers::new(&[new.clone(), old.clone()], "gw.example/log", 0).unwrap();
        let note = signers.sign(&checkpoint).unwrap();
        assert_eq!(note.signatures().len(), 2);
        for key in [&old, &new] {
            let vkey: VerifierKey = key.vkey("gw.example/log", 0).unwrap().parse().unwrap();
            let note: Note = note.to_string().parse().unwrap();
            assert_eq!(note.verify([&vkey]).unwrap().len(), 1);
        }
        assert_eq!(signers.also(), [old.vkey("gw.example/log", 0).unwrap()]);
        let after = Signers::new(std::slice::from_ref(&new), "gw.example/log", 0)
            .unwrap()
            .sign(&checkpoint)
            .unwrap();
        let vkey: VerifierKey = old.vkey("gw.example/log", 0).unwrap().parse().unwrap();
        assert!(after.verify([&vkey]).is_err(), "a removed key signs no more");
    }
}
