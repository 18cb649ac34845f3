//! What hides a personal value until somebody may see it: value and salt become sealed bytes, under a data key of the person
//! whose value it is. Data keys lie in the database wrapped by a master key, which does not.
//!
//! *Invariant:* neither a key nor a value leaves this room in an error or in a `Debug`; what was sealed for one place of the
//! log opens as nothing else. AES-256-GCM, HKDF and HMAC with SHA-256, all of aws-lc.

mod config;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use config::{Config, KeyPlace, PrivacyError, Secret};

/// The master keys. The first one wraps; the others open what they wrapped, until it is wrapped anew.
pub struct Privacy {
    first: Master,
    former: Vec<Master>,
}

/// Where a value stands: what it was sealed for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub lane: u16,
    /// Of the first record that has the digest.
    pub index: u64,
    /// `actor`, `certificate`, `person`, `registrar`.
    pub field: &'a str,
    /// The salted digest in the record.
    pub digest: &'a [u8; 32],
}

/// A key under which the values of one person are sealed. Its bytes are erased when it is dropped.
pub struct DataKey {
    id: Uuid,
    bytes: Zeroizing<[u8; 32]>,
}

/// A data key as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub id: Uuid,
    pub org: String,
    /// HMAC of the subject: by this it is found, by who has the master key.
    pub subject: [u8; 32],
    /// Id of the master key.
    pub master: String,
    /// Nonce, key and name's hash encrypted, tag.
    pub bytes: Vec<u8>,
}

/// What a digest in a record hides.
#[derive(PartialEq, Eq)]
pub struct Hidden {
    pub salt: [u8; 16],
    pub value: String,
}

impl Privacy {
    /// The keys that the configuration names; `None` when it names none: then no value is kept at all.
    pub fn read(config: &Config) -> Result<Option<Self>, PrivacyError> {
        Self::of(&config.secrets()?)
    }

    /// The same with secrets that are already in memory.
    pub fn of(keys: &[(String, Secret)]) -> Result<Option<Self>, PrivacyError> {
        let Some(((id, secret), former)) = keys.split_first() else { return Ok(None) };
        let first = Master::new(id.clone(), secret)?;
        let former = former.iter().map(|(id, secret)| Master::new(id.clone(), secret));
        Ok(Some(Self { first, former: former.collect::<Result<_, _>>()? }))
    }

    /// Id of the key that wraps.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.first.id
    }

    /// A new data key for a person of an organisation, and what the database keeps of it. `chance` is used for nothing else.
    pub fn new_key(
        &self,
        org: &str,
        subject: &str,
        chance: &Zeroizing<[u8; 60]>,
    ) -> Result<(DataKey, Wrapped), PrivacyError> {
        let [id, key, nonce] = parts(chance);
        let id = uuid::Builder::from_random_bytes(fixed(id)?).into_uuid();
        let key = DataKey { id, bytes: Zeroizing::new(fixed(key)?) };
        let wrapped = self.first.wrap(&key, org, &name_hash(org, subject), fixed(nonce)?)?;
        Ok((key, wrapped))
    }

    /// The data key itself.
    pub fn unwrap(&self, wrapped: &Wrapped) -> Result<DataKey, PrivacyError> {
        let (key, _) = self.master(&wrapped.master)?.unwrap(wrapped)?;
        Ok(key)
    }

    /// The same data key under the first master key; `None` when it is there already.
    pub fn rewrap(
        &self,
        wrapped: &Wrapped,
        nonce: [u8; 12],
    ) -> Result<Option<Wrapped>, PrivacyError> {
        if wrapped.master == self.first.id {
            return Ok(None);
        }
        let (key, name) = self.master(&wrapped.master)?.unwrap(wrapped)?;
        self.first.wrap(&key, &wrapped.org, &name, nonce).map(Some)
    }

    /// Whether a data key opens, and is found by the name of its own person.
    #[must_use]
    pub fn owns(&self, wrapped: &Wrapped) -> bool {
        let Ok(master) = self.master(&wrapped.master) else { return false };
        master.unwrap(wrapped).is_ok_and(|(_, name)| master.index(&name) == wrapped.subject)
    }

    /// By what the data keys of a person are found: one index for each master key.
    #[must_use]
    pub fn subject(&self, org: &str, subject: &str) -> Vec<[u8; 32]> {
        let name = name_hash(org, subject);
        self.all().map(|master| master.index(&name)).collect()
    }

    /// Whether a master key of this name is here.
    #[must_use]
    pub fn knows(&self, master: &str) -> bool {
        self.all().any(|one| one.id == master)
    }

    /// Ids of the master keys, the first one first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.all().map(|master| &*master.id).collect()
    }

    /// The index under the first master key.
    #[must_use]
    pub fn subject_now(&self, org: &str, subject: &str) -> [u8; 32] {
        self.first.index(&name_hash(org, subject))
    }

    fn all(&self) -> impl Iterator<Item = &Master> {
        std::iter::once(&self.first).chain(&self.former)
    }

    fn master(&self, id: &str) -> Result<&Master, PrivacyError> {
        let found = self.all().find(|master| master.id == id);
        found.ok_or_else(|| PrivacyError::NoMaster(id.to_owned()))
    }
}

impl DataKey {
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Seals salt and value for a place. `nonce` is used for nothing else.
    pub fn seal(
        &self,
        place: Place<'_>,
        salt: &[u8; 16],
        value: &str,
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, PrivacyError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(salt.len() + value.len() + TAG_BYTES));
        plain.extend_from_slice(salt);
        plain.extend_from_slice(value.as_bytes());
        encrypt(&self.bytes, nonce, &place.bound_to(), &mut plain)
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Hidden, PrivacyError> {
        let plain = decrypt(&self.bytes, &place.bound_to(), sealed)?;
        let (salt, value) = plain.split_first_chunk::<16>().ok_or(PrivacyError::Damaged)?;
        let value = std::str::from_utf8(value).map_err(|_| PrivacyError::Damaged)?;
        Ok(Hidden { salt: *salt, value: value.to_owned() })
    }
}

impl Place<'_> {
    fn bound_to(&self) -> Vec<u8> {
        let mut bytes = VALUE.to_vec();
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(self.digest);
        bytes.extend_from_slice(self.field.as_bytes());
        bytes
    }
}

impl Hidden {
    /// The digest that hides it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(&self.value).finalize().into()
    }
}

/// One master key, as the two keys that are made of it.
struct Master {
    id: String,
    wrap: Zeroizing<[u8; 32]>,
    index: hmac::Key,
}

impl Master {
    fn new(id: String, secret: &[u8; 32]) -> Result<Self, PrivacyError> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let derive = |info: &[u8]| {
            let (mut key, info) = (Zeroizing::new([0; 32]), [info]);
            let okm = root.expand(&info, hkdf::HKDF_SHA256);
            okm.and_then(|okm| okm.fill(&mut key[..])).map_err(|_| PrivacyError::Damaged)?;
            Ok::<_, PrivacyError>(key)
        };
        let index = hmac::Key::new(hmac::HMAC_SHA256, &derive(INDEX)?[..]);
        Ok(Self { id, wrap: derive(WRAP)?, index })
    }

    fn index(&self, name: &[u8; 32]) -> [u8; 32] {
        let mut index = [0; 32];
        index.iter_mut().zip(hmac::sign(&self.index, name).as_ref()).for_each(|(to, from)| {
            *to = *from;
        });
        index
    }

    /// The name's hash goes along, so that who wraps anew can make the index anew.
    fn wrap(
        &self,
        key: &DataKey,
        org: &str,
        name: &[u8; 32],
        nonce: [u8; 12],
    ) -> Result<Wrapped, PrivacyError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(64 + TAG_BYTES));
        plain.extend_from_slice(&key.bytes[..]);
        plain.extend_from_slice(name);
        let bytes = encrypt(&self.wrap, nonce, &wrapped_for(key.id, org), &mut plain)?;
        let (subject, master) = (self.index(name), self.id.clone());
        Ok(Wrapped { id: key.id, org: org.to_owned(), subject, master, bytes })
    }

    fn unwrap(&self, wrapped: &Wrapped) -> Result<(DataKey, Secret), PrivacyError> {
        let plain = decrypt(&self.wrap, &wrapped_for(wrapped.id, &wrapped.org), &wrapped.bytes)?;
        let (key, name) = plain.split_first_chunk::<32>().ok_or(PrivacyError::Damaged)?;
        let key = DataKey { id: wrapped.id, bytes: Zeroizing::new(*key) };
        Ok((key, Zeroizing::new(fixed(name)?)))
    }
}

/// Whose key it is, as the master key knows it.
fn name_hash(org: &str, subject: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(SUBJECT).chain_update(org).chain_update([0]);
    hash.chain_update(subject).finalize().into()
}

fn wrapped_for(id: Uuid, org: &str) -> Vec<u8> {
    [DATA_KEY, id.as_bytes().as_slice(), org.as_bytes()].concat()
}

/// Nonce, ciphertext, tag.
fn encrypt(
    key: &[u8; 32],
    nonce: [u8; 12],
    bound_to: &[u8],
    plain: &mut Vec<u8>,
) -> Result<Vec<u8>, PrivacyError> {
    let sealing = Nonce::assume_unique_for_key(nonce);
    cipher(key)?
        .seal_in_place_append_tag(sealing, Aad::from(bound_to), plain)
        .map_err(|_| PrivacyError::Damaged)?;
    Ok([nonce.as_slice(), plain].concat())
}

fn decrypt(
    key: &[u8; 32],
    bound_to: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, PrivacyError> {
    let (nonce, rest) = sealed.split_first_chunk::<12>().ok_or(PrivacyError::Damaged)?;
    let mut plain = Zeroizing::new(rest.to_vec());
    let opening = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher(key)?.open_in_place(opening, Aad::from(bound_to), &mut plain);
    let length = opened.map_err(|_| PrivacyError::Damaged)?.len();
    plain.truncate(length);
    Ok(plain)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, PrivacyError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| PrivacyError::Damaged)
}

/// Id, key and nonce out of one draw.
fn parts(chance: &[u8; 60]) -> [&[u8]; 3] {
    let (id, rest) = chance.split_at(16);
    let (key, nonce) = rest.split_at(32);
    [id, key, nonce]
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], PrivacyError> {
    bytes.try_into().map_err(|_| PrivacyError::Damaged)
}

impl std::fmt::Debug for Privacy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.all().map(|master| &*master.id).collect();
        out.debug_tuple("Privacy").field(&ids).finish()
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("DataKey").field(&self.id).finish()
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hidden")
    }
}

/// One use of a key is not another's. A master key may wrap 2^32 data keys under random nonces (NIST SP 800-38D, 8.3): at a
/// thousand new ones a second, 49 days without a pause; change it before.
const SALT: &[u8] = b"haetae privacy v1";
const WRAP: &[u8] = b"wrap data keys";
const INDEX: &[u8] = b"index of subjects";
const SUBJECT: &[u8] = b"haetae subject v1\0";
const DATA_KEY: &[u8] = b"haetae data key v1\0";
const VALUE: &[u8] = b"haetae sealed value v1\0";
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    //! What is sealed opens for its place alone, under its person's key alone; a changed master key opens the same.

    use proptest::prelude::*;

    use super::*;

    fn privacy(keys: &[(&str, u8)]) -> Privacy {
        let secret = |(id, byte): &(&str, u8)| ((*id).to_owned(), Zeroizing::new([*byte; 32]));
        Privacy::of(&keys.iter().map(secret).collect::<Vec<_>>()).unwrap().unwrap()
    }

    fn chance(byte: u8) -> Zeroizing<[u8; 60]> {
        Zeroizing::new([byte; 60])
    }

    #[test]
    fn a_master_key_is_changed_and_the_former_one_can_go() {
        let old = privacy(&[("2026", 1)]);
        let (key, wrapped) = old.new_key("kr-med", "kim", &chance(7)).unwrap();
        let digest = [9; 32];
        let place = Place { lane: 0, index: 3, field: "actor", digest: &digest };
        let sealed = key.seal(place, &[5; 16], "kim", [1; 12]).unwrap();

        let both = privacy(&[("2027", 2), ("2026", 1)]);
        assert!(both.subject("kr-med", "kim").contains(&wrapped.subject));
        let again = both.rewrap(&wrapped, [3; 12]).unwrap().unwrap();
        assert_eq!((again.id, &*again.master), (wrapped.id, "2027"));
        assert_eq!(both.rewrap(&again, [3; 12]).unwrap(), None);

        let new = privacy(&[("2027", 2)]);
        assert_eq!(new.subject("kr-med", "kim"), [again.subject]);
        let hidden = new.unwrap(&again).unwrap().open(place, &sealed).unwrap();
        assert_eq!((hidden.salt, &*hidden.value), ([5; 16], "kim"));
        assert!(matches!(new.unwrap(&wrapped), Err(PrivacyError::NoMaster(id)) if id == "2026"));
        // Another secret under the old id opens nothing.
        assert!(privacy(&[("2026", 3)]).unwrap(&wrapped).is_err());
    }

    #[test]
    fn names_of_two_organisations_have_nothing_in_common() {
        let privacy = privacy(&[("a", 1)]);
        assert_ne!(privacy.subject("kr-med", "kim"), privacy.subject("kr-retailer", "kim"));
        assert_ne!(privacy.subject("ab", "c"), privacy.subject("a", "bc"));
        let text = format!("{privacy:?} {:?}", privacy.new_key("o", "kim", &chance(1)).unwrap().0);
        assert!(!text.contains("kim") && text.starts_with("Privacy([\"a\"])"), "{text}");
    }

    proptest! {
        #[test]
        fn opens_as_it_was_sealed_and_as_nothing_else(
            value in any::<String>(), salt in any::<[u8; 16]>(), lane in any::<u16>(), index in any::<u64>(),
            digest in any::<[u8; 32]>(), flip in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let privacy = privacy(&[("a", 1)]);
            let (key, wrapped) = privacy.new_key("org", &value, &chance(4)).unwrap();
            let place = Place { lane, index, field: "actor", digest: &digest };
            let sealed = key.seal(place, &salt, &value, [2; 12]).unwrap();
            let opened = privacy.unwrap(&wrapped).unwrap().open(place, &sealed).unwrap();
            prop_assert_eq!((opened.salt, &opened.value), (salt, &value));

            let mut changed = sealed.clone();
            let at = flip.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(key.open(place, &changed).is_err());
            prop_assert!(key.open(place, &sealed[..at]).is_err());
            for other in [
                Place { lane: lane ^ 1, ..place }, Place { index: index ^ 1, ..place },
                Place { field: "certificate", ..place }, Place { digest: &[0; 32], ..place },
            ] {
                prop_assert!(key.open(other, &sealed).is_err() || other.digest == place.digest);
            }
            let (stranger, _) = privacy.new_key("org", "other", &chance(5)).unwrap();
            prop_assert!(stranger.open(place, &sealed).is_err());
            let mut moved = wrapped;
            moved.org.push('x');
            prop_assert!(privacy.unwrap(&moved).is_err());
        }
    }
}
