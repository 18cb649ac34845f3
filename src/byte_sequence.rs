//! Bytes in a header: a byte sequence of RFC 9651, section 3.3.5, which is base64 (standard, padded) between two colons.

use base64_simd::STANDARD;
use bytes::Bytes;

#[must_use]
pub fn write(bytes: &[u8]) -> Bytes {
    let mut text = String::with_capacity(STANDARD.encoded_length(bytes.len()) + 2);
    text.push(':');
    STANDARD.encode_append(bytes, &mut text);
    text.push(':');
    text.into()
}

/// `None` when it is not one, whole and without parameters.
#[must_use]
pub fn read(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text.strip_prefix(b":")?.strip_suffix(b":")?).ok()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As the reference implementation has it, of every length.
        #[test]
        fn what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = write(&bytes);
            prop_assert_eq!(&text, &format!(":{}:", general_purpose::STANDARD.encode(&bytes)));
            prop_assert_eq!(read(&text), Some(bytes));
        }

        /// One character changed, cut or doubled: read, or not, as the reference implementation does.
        #[test]
        fn nothing_else_is_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<proptest::sample::Index>(),
            other in prop_oneof![Just(None), prop::char::range(' ', '~').prop_map(Some)],
            doubled in any::<bool>(),
        ) {
            let mut text = general_purpose::STANDARD.encode(&bytes);
            if !text.is_empty() {
                let at = at.index(text.len());
                let was = text.remove(at);
                other.iter().chain(doubled.then_some(&was)).for_each(|with| text.insert(at, *with));
            }
            prop_assert_eq!(read(text.as_bytes()), None);
            let wanted = general_purpose::STANDARD.decode(&text).ok();
            prop_assert_eq!(read(format!(":{text}:").as_bytes()), wanted);
        }
    }

    #[test]
    fn colons_stand_on_both_sides_and_padding_is_whole() {
        for text in [
            "", ":", "AA==", ":AA==", "AA==:", ":AA:", ":AA=:", ":AB==:", ":A:", ":AA==:;a",
            ": AA==:",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"::"), Some(Vec::new()));
        assert_eq!(read(b":AA==:"), Some(vec![0]));
    }
}
