//! The byte-level reading of HTTP/1: one case for each rule, and the same verdict however the bytes are cut.

use super::*;

/// Feeds `bytes` in pieces, keeping what is held as the stream does; gives what passed and how it ended.
fn feed(bytes: &[u8], piece: usize) -> (Vec<u8>, Then, u64) {
    let mut tracker = Tracker::new();
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut last = Then::More;
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        let look = tracker.look(&held);
        passed.extend(held.drain(..look.pass));
        last = look.then;
        if matches!(last, Then::Refuse(_) | Then::Break(_)) {
            break;
        }
    }
    (passed, last, tracker.heads())
}

/// The end is the same at every cut.
fn ends(bytes: &[u8]) -> (Vec<u8>, Then, u64) {
    let whole = feed(bytes, bytes.len());
    for piece in [1, 2, 3, 7, 16] {
        let cut = feed(bytes, piece);
        assert_eq!((cut.1, cut.2), (whole.1, whole.2), "in pieces of {piece}");
        if !matches!(whole.1, Then::Break(_)) {
            assert_eq!(cut.0, whole.0, "in pieces of {piece}");
        }
    }
    whole
}

#[test]
fn three_pipelined_requests_pass_unchanged() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\r\n\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\n\n\n\n\r\n0\r\nx: y\r\n\r\nGET /d HTTP/1.0\r\n\r\n";
    assert_eq!(ends(bytes), (bytes.to_vec(), Then::More, 4));
}

#[test]
fn an_unfinished_head_is_held_whole() {
    let first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let bytes = [first.clone(), b"GET / HTTP/1.1\r\nHost".to_vec()].concat();
    assert_eq!(ends(&bytes), (first, Then::Hold, 1));
}

#[test]
fn each_ambiguous_head_is_refused_by_name() {
    let cases: [(&str, Fault); 31] = [
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            Fault::LengthWithEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            Fault::LengthWithEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
            Fault::LengthRepeated,
        ),
        ("POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", Fault::LengthInvalid),
        ("POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", Fault::LengthInvalid),
        ("POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\n", Fault::LengthInvalid),
        ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", Fault::LengthInvalid),
        ("POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n", Fault::LengthInvalid),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Fault::EncodingRefused),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Fault::EncodingRefused,
        ),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", Fault::EncodingRefused),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Fault::EncodingRefused),
        ("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", Fault::EncodingRefused),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::EncodingRefused),
        ("GET / HTTP/1.1\nHost: x\r\n\r\n", Fault::BareLf),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n", Fault::BareLf),
        ("GET / HTTP/1.1\r\nHost: x\r\n\n", Fault::BareLf),
        ("GET / HTTP/1.1\r\nHost: x\r y\r\n\r\n", Fault::ControlByte),
        ("GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n", Fault::ControlByte),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", Fault::FieldName),
        ("GET / HTTP/1.1\r\n: x\r\n\r\n", Fault::FieldName),
        ("GET / HTTP/1.1\r\nHost x\r\n\r\n", Fault::FieldName),
        ("GET / HTTP/1.1\r\nA: x\r\n b\r\n\r\n", Fault::ObsoleteFold),
        ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", Fault::ObsoleteFold),
        ("GET  / HTTP/1.1\r\n\r\n", Fault::RequestLine),
        ("GET /#f HTTP/1.1\r\n\r\n", Fault::Target),
        ("GET / HTTP/1.2\r\n\r\n", Fault::Version),
        ("GET / HTTP/1.1\r\n\r\n", Fault::HostMissing),
        ("GET / HTTP/1.1\r\nHosts: x\r\n\r\n", Fault::HostMissing),
        ("GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", Fault::HostRepeated),
        ("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", Fault::HostRepeated),
    ];
    for (head, fault) in cases {
        assert_eq!(ends(head.as_bytes()), (Vec::new(), Then::Refuse(fault), 0), "{head:?}");
    }
    assert_eq!(ends(b"\r\n\r\n").1, Then::Refuse(Fault::RequestLine));
    assert_eq!(ends("GET /\u{e9} HTTP/1.1\r\n\r\n".as_bytes()).1, Then::Refuse(Fault::Target));
}

#[test]
fn a_refused_head_leaves_what_came_before_it() {
    let first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let bytes = [first.clone(), b"GET / HTTP/1.1\nHost: x\r\n\r\n".to_vec()].concat();
    assert_eq!(ends(&bytes), (first, Then::Refuse(Fault::BareLf), 1));
}

#[test]
fn malformed_chunks_break_off() {
    for body in [
        "\r\n",
        "x\r\n",
        "3\n",
        "3 \r\n",
        "-1\r\n",
        "1000000000000000\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "3;\nabc",
        "0\r\na: b\n\r\n",
    ] {
        let bytes =
            format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let (_, end, heads) = ends(bytes.as_bytes());
        assert_eq!((end, heads), (Then::Break(Fault::Chunk), 1), "{body:?}");
    }
}

#[test]
fn size_and_count_are_held_to_the_byte() {
    let fill = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: x\r\na: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: x\r\na: {}\r\n\r\n", "x".repeat(length - frame))
    };
    assert_eq!(feed(fill(HEAD_BYTES_MAX).as_bytes(), 4_096).1, Then::More);
    assert_eq!(
        feed(fill(HEAD_BYTES_MAX + 1).as_bytes(), 4_096).1,
        Then::Refuse(Fault::HeadTooLarge)
    );
    let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
    assert_eq!(feed(&endless, 4_096).1, Then::Refuse(Fault::HeadTooLarge));
    let fields =
        |count| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert_eq!(feed(fields(HEAD_FIELDS_MAX).as_bytes(), 4_096).1, Then::More);
    assert_eq!(
        feed(fields(HEAD_FIELDS_MAX + 1).as_bytes(), 4_096).1,
        Then::Refuse(Fault::TooManyFields)
    );
}
