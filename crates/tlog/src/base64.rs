//! Base64 as every C2SP text writes it (RFC 4648, section 4): with padding, and nothing that decodes to the same bytes twice.

use alloc::{string::String, vec::Vec};

use base64_simd::{AsOut as _, STANDARD};

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode_to_string(bytes)
}

/// Writes at the end of a text, without a text of its own.
pub(crate) fn push(bytes: &[u8], text: &mut String) {
    STANDARD.encode_append(bytes, text);
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok()
}

/// The same for 32 bytes, without room of their own.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    // 44 characters, of which the last may or may not be padding.
    let mut bytes = [0; 33];
    if text.len() != 44 {
        return None;
    }
    let decoded = STANDARD.decode(text.as_bytes(), bytes.as_mut_slice().as_out()).ok()?;
    (&*decoded).try_into().ok()
}
