//! Signed notes (C2SP signed-note): a text and the signatures under it, known and unknown.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use crate::{
    base64, cosignature,
    key::{Kind, SignError, Signer, VerifierKey},
};

/// A text with signatures. What it says must not be used before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line. `bytes` is what follows the key id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub id: u32,
    pub bytes: Vec<u8>,
}

/// A key that signed the note, and the time it gave if it is a cosignature (Unix seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'k> {
    pub key: &'k VerifierKey,
    pub at: Option<u64>,
}

impl Note {
    /// Larger notes are not read: 16 signatures of 5 kB, which any reader must accept, and as much again.
    pub const BYTES_MAX: usize = 160 * 1024;

    /// Signs a text (which ends with a newline) with an Ed25519 key.
    pub fn sign<S: Signer + ?Sized>(text: String, signer: &S) -> Result<Self, SignError> {
        if !is_text(&text) {
            return Err(SignError::Text);
        }
        let mut note = Self { text, signatures: Vec::new() };
        note.add(signer)?;
        Ok(note)
    }

    /// Signs the same text with a further Ed25519 key: while keys change, the old and the new one sign for a time.
    pub fn add<S: Signer + ?Sized>(&mut self, signer: &S) -> Result<(), SignError> {
        let key = signer.verifier();
        if key.kind() != Kind::Ed25519 {
            return Err(SignError::Kind(key.kind()));
        }
        let bytes = signer.sign(self.text.as_bytes())?;
        self.signatures.push(Signature { name: key.name().into(), id: key.id(), bytes });
        Ok(())
    }

    /// The signed text with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a further signature, e.g. a witness's.
    pub fn push(&mut self, signature: Signature) {
        self.signatures.push(signature);
    }

    /// Which of these keys signed. Signatures of other keys are ignored; a bad signature under a known key's name and
    /// id spoils the note, and so does the absence of any known key. Of each key one line counts, the first. A further one
    /// that differs must be good too, and there may be few of them: a note that repeats lines costs little more than one that does not.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, NoteError> {
        let keys: Vec<&VerifierKey> = keys.into_iter().collect();
        let mut verified: Vec<Verified<'k>> = Vec::new();
        let mut seen: Vec<&Signature> = Vec::new();
        for signature in &self.signatures {
            let known = |key: &&&'k VerifierKey| signature.is_of(key);
            let Some(key) = keys.iter().find(known).copied() else { continue };
            if seen.contains(&signature) {
                continue;
            }
            let is_one_of_few = seen.len() < verified.len() + FURTHER_MAX;
            let found = is_one_of_few.then(|| check(&self.text, signature, key)).flatten();
            let Some(found) = found else {
                return Err(NoteError::BadSignature(signature.name.clone()));
            };
            seen.push(signature);
            if !verified.iter().any(|earlier| earlier.key == key) {
                verified.push(found);
            }
        }
        if verified.is_empty() { Err(NoteError::Unsigned) } else { Ok(verified) }
    }
}

/// Writes the note as it is stored and sent.
impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(out, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > Self::BYTES_MAX {
            return Err(NoteError::TooLarge);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Shape)?;
        let mut owned = String::with_capacity(text.len() + 1);
        owned.push_str(text);
        owned.push('\n');
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Shape)?;
        if !is_text(&owned) {
            return Err(NoteError::Shape);
        }
        let signatures = lines.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: owned, signatures })
    }
}

impl Signature {
    /// Whether it says that it is this key's. It may be bad all the same.
    #[must_use]
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }
}

/// One signature line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(4 + self.bytes.len());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(&self.bytes);
        write!(out, "{DASH}{} {}", self.name, base64::encode(bytes))
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(DASH).ok_or(NoteError::Shape)?;
        let (name, tail) = rest.split_once(' ').ok_or(NoteError::Shape)?;
        let bytes = base64::decode(tail).ok_or(NoteError::Shape)?;
        match bytes.split_first_chunk() {
            Some((id, bytes)) if is_name(name) && !bytes.is_empty() => {
                let id = u32::from_be_bytes(*id);
                Ok(Self { name: name.into(), id, bytes: bytes.to_vec() })
            }
            _ => Err(NoteError::Shape),
        }
    }
}

/// `None` when the signature is bad.
fn check<'k>(text: &str, signature: &Signature, key: &'k VerifierKey) -> Option<Verified<'k>> {
    let at = match key.kind() {
        Kind::Ed25519 if key.verify(text.as_bytes(), &signature.bytes) => None,
        Kind::Ed25519 => return None,
        Kind::Cosignature => Some(cosignature::check(text, &signature.bytes, key)?),
    };
    Some(Verified { key, at })
}

/// What signed-note forbids in a name, and no more: a line of a key that nobody knows spoils no note.
fn is_name(name: &str) -> bool {
    let bad = |c: char| c < ' ' || c.is_whitespace() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteError {
    Shape,
    TooLarge,
    /// No key that we know signed it.
    Unsigned,
    /// The name of the key whose signature does not fit the text.
    BadSignature(String),
}

impl fmt::Display for NoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => out.write_str("not a signed note"),
            Self::TooLarge => {
                write!(out, "a note of more than {} bytes is not read", Note::BYTES_MAX)
            }
            Self::Unsigned => out.write_str("the note is not signed by a trusted key"),
            Self::BadSignature(name) => {
                write!(out, "the signature of `{name}` does not fit the note")
            }
        }
    }
}

impl core::error::Error for NoteError {}

/// Em dash and space open a signature line.
const DASH: &str = "\u{2014} ";

/// Lines under known keys that differ from the first of their key: a witness may have cosigned one checkpoint some times.
const FURTHER_MAX: usize = 16;
