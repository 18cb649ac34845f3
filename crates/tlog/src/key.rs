//! Keys of notes (C2SP signed-note): a name, a short id, an algorithm; and the boundary behind which signing happens.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

use crate::base64;

/// The signature types that this crate makes and checks; the number is the identifier byte of signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// Ed25519 over a time and the note's text (tlog-cosignature, `cosignature/v1`).
    Cosignature = 0x04,
}

/// Where signing happens: a key in this process, or a module that never lets its key out.
///
/// Another algorithm is another [`Kind`] with an arm in [`VerifierKey::verify`] and a `Signer` of its own.
pub trait Signer: Send + Sync {
    /// The public half: name, id and kind of what [`Signer::sign`] makes.
    fn verifier(&self) -> &VerifierKey;

    /// The bare signature over exactly these bytes. Must give the same signature for the same bytes, so that a
    /// checkpoint can be made again after a crash.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A public key with the name under which its owner signs. Text form (a "vkey"): `name+id+base64(kind || key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: Kind,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// `public` is 32 bytes as in RFC 8032.
    pub fn new(name: &str, kind: Kind, public: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_string(), id: id_of(name, kind, public), kind, key })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether these bytes were signed by this key. Keys and points of small order are refused.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        self.key.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = tagged(self.kind, self.public());
        write!(out, "{}+{:08x}+{}", self.name, self.id, base64::encode(tail))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        let (name, id, kind, public) = split(vkey)?;
        let key = Self::new(name, kind, &public)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// An Ed25519 key in this process. Its bytes are erased when it is dropped, and never printed.
pub struct SigningKey {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// `seed` is 32 random bytes: the private key as in RFC 8032.
    pub fn from_seed(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, kind, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }

    /// Reads `PRIVATE+KEY+name+id+base64(kind || seed)`, the form that Go's sumdb tools write.
    pub fn from_skey(skey: &str) -> Result<Self, KeyError> {
        let rest = skey.strip_prefix(SKEY_PREFIX).ok_or(KeyError::Shape)?;
        let (name, id, kind, seed) = split(rest)?;
        let key = Self::from_seed(name, kind, &seed)?;
        if key.verifier.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The private key as text: for the key file alone.
    #[must_use]
    pub fn to_skey(&self) -> String {
        let (name, id) = (&self.verifier.name, self.verifier.id);
        let tail = base64::encode(tagged(self.verifier.kind, self.key.as_bytes()));
        format!("{SKEY_PREFIX}{name}+{id:08x}+{tail}")
    }
}

impl Signer for SigningKey {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.verifier)
    }
}

/// Whether a text may name a key: not empty, without spaces, control characters and plus signs.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

fn split(text: &str) -> Result<(&str, u32, Kind, [u8; 32]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Shape)?;
    let (id, tail) = rest.split_once('+').ok_or(KeyError::Shape)?;
    if id.len() != 8 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(KeyError::Shape);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Shape)?;
    let bytes = base64::decode(tail).ok_or(KeyError::Shape)?;
    let (kind, key) = bytes.split_first().ok_or(KeyError::Shape)?;
    let kind = match kind {
        0x01 => Kind::Ed25519,
        0x04 => Kind::Cosignature,
        other => return Err(KeyError::Unsupported(*other)),
    };
    Ok((name, id, kind, key.try_into().map_err(|_| KeyError::Shape)?))
}

fn id_of(name: &str, kind: Kind, public: &[u8; 32]) -> u32 {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n']);
    let digest = digest.chain_update(tagged(kind, public)).finalize();
    digest.first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
}

fn tagged(kind: Kind, key: &[u8; 32]) -> [u8; 33] {
    let mut bytes = [kind as u8; 33];
    if let Some((_, rest)) = bytes.split_first_mut() {
        rest.copy_from_slice(key);
    }
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    Shape,
    Name,
    Id,
    Point,
    Unsupported(u8),
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => out.write_str("not a key of the form name+id+base64"),
            Self::Name => out.write_str(
                "a key's name may not be empty nor hold spaces, control characters or `+`",
            ),
            Self::Id => out.write_str("the key's id does not belong to its name and key"),
            Self::Point => out.write_str("not an Ed25519 public key"),
            Self::Unsupported(kind) => write!(out, "signature type {kind:#04x} is not supported"),
        }
    }
}

impl core::error::Error for KeyError {}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignError {
    /// The key makes another kind of signature than was asked for.
    Kind(Kind),
    /// The text cannot be a note's text.
    Text,
    /// The key's module did not answer; its own words.
    Module(String),
}

impl fmt::Display for SignError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(out, "a key of type {:#04x} cannot sign this", *kind as u8),
            Self::Text => out.write_str("the text to sign is not a note's text"),
            Self::Module(cause) => write!(out, "the key module did not sign: {cause}"),
        }
    }
}

impl core::error::Error for SignError {}

const SKEY_PREFIX: &str = "PRIVATE+KEY+";
