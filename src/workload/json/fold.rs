//! Which keys some reader would take for the same: case folding, and the search for two such keys in one object.

use super::text;

/// Folds case so that every pair that is equal under Unicode *simple* case folding (what Go's `strings.EqualFold` and
/// `encoding/json` do), under .NET's `OrdinalIgnoreCase` or under Java's `equalsIgnoreCase` is equal here.
///
/// Lower, then upper, then lower: U+212A (kelvin) and U+017F (long s) become `k` and `s`, final sigma joins sigma,
/// dotted and dotless i join `i`. It is a little wider than simple folding (U+00DF becomes `ss`): the wider answer only
/// refuses more.
pub fn folded(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    chars.flat_map(|first| lower(first).to_uppercase().map(lower))
}

/// A hash of the folded key (FNV-1a, 64 bit). Keys with equal hashes count as the same: who finds a collision has
/// made a body that is refused.
pub fn hash(raw: &[u8]) -> u64 {
    let plain = raw.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    if plain {
        return raw.iter().fold(OFFSET, |hash, byte| mix(hash, byte.to_ascii_lowercase()));
    }
    let raw = std::str::from_utf8(raw).unwrap_or_default();
    folded(text::decoded(raw)).fold(OFFSET, |hash, char| {
        let mut utf8 = [0; 4];
        char.encode_utf8(&mut utf8).bytes().fold(hash, mix)
    })
}

/// True when two of the hashes are the same. May reorder them.
pub fn any_same(keys: &mut [u64]) -> bool {
    if keys.len() > PAIRWISE_MAX {
        keys.sort_unstable();
        return keys.iter().zip(keys.iter().skip(1)).any(|(one, next)| one == next);
    }
    keys.iter().enumerate().any(|(at, key)| keys.iter().skip(at + 1).any(|other| other == key))
}

/// The first character of the lower case; only U+0130 has more (`i` and a combining dot).
fn lower(char: char) -> char {
    char.to_lowercase().next().unwrap_or(char)
}

const fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(PRIME)
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// Up to here 16 x 15 / 2 = 120 comparisons are cheaper than a sort.
const PAIRWISE_MAX: usize = 16;
