//! A lane's head under a key of the log: which states of it a gateway made, before any of them is signed.
//!
//! *Invariant:* whoever has the database and not the key cannot make a head that is claimed and signed: records that somebody else put
//! behind the newest signed checkpoint are not taken for ours.

use aws_lc_rs::hmac;
use tlog::Hash;

use super::Key;

/// HMAC-SHA256 over size and root. A checkpoint cannot take its place: it would be signed before the commit.
pub(super) type Seal = [u8; 32];

/// The keys of one lane's seals: the first seals, and while keys change the others count too.
pub(super) struct Seals(Vec<hmac::Key>);

impl Seals {
    /// `lane` is the origin of the lane.
    pub fn new(keys: &[Key], lane: &str) -> Self {
        let key = |key: &Key| hmac::Key::new(hmac::HMAC_SHA256, &*key.derived(DERIVE, lane));
        Self(keys.iter().map(key).collect())
    }

    pub fn seal(&self, size: u64, root: &Hash) -> Seal {
        let tag = self.0.first().map(|key| hmac::sign(key, &message(size, root)));
        // Without a key there is no lane.
        tag.and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_default()
    }

    pub fn fits(&self, size: u64, root: &Hash, seal: &[u8]) -> bool {
        let message = message(size, root);
        self.0.iter().any(|key| hmac::verify(key, &message, seal).is_ok())
    }
}

fn message(size: u64, root: &Hash) -> [u8; 40] {
    let mut message = [0; 40];
    let (first, rest) = message.split_at_mut(8);
    first.copy_from_slice(&size.to_be_bytes());
    rest.copy_from_slice(&root.0);
    message
}

/// Sets these keys apart from any other use of the secret.
const DERIVE: &[u8] = b"haetae lane seal v1\0";

#[cfg(test)]
mod tests {
    //! A seal is of one lane, one size, one root and one log's key.

    use std::slice::from_ref;

    use super::*;

    #[test]
    fn only_the_sealed_head_of_the_same_lane_and_log_fits() {
        let (ours, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let (root, another) = (Hash::leaf(b"a"), Hash::leaf(b"b"));
        let seals = Seals::new(from_ref(&ours), "gw.example/log/0");
        let seal = seals.seal(7, &root);
        assert!(seals.fits(7, &root, &seal));
        assert!(!seals.fits(8, &root, &seal) && !seals.fits(7, &another, &seal));
        assert!(!seals.fits(7, &root, &[0; 32]) && !seals.fits(7, &root, &[]));
        let lane = Seals::new(from_ref(&ours), "gw.example/log/1");
        assert!(!lane.fits(7, &root, &seal));
        assert!(!Seals::new(from_ref(&other), "gw.example/log/0").fits(7, &root, &seal));
        // While keys change, the former one's counts.
        assert!(Seals::new(&[other, ours], "gw.example/log/0").fits(7, &root, &seal));
    }
}
