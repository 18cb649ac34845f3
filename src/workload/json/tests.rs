//! Proves that the reader accepts what RFC 8259 allows, refuses everything that two readers could take differently, and
//! never accepts what `serde_json` refuses or reads otherwise.

use proptest::prelude::*;
use serde_json::{Map, Value as Oracle};

use super::{DEPTH_MAX, Fault, Kind, NODES_MAX, Value, read};

/// Our reading as a `serde_json` value. Scalars inside arrays are not kept, so [`kept`] drops them from the oracle too.
fn ours(value: Value<'_>) -> Oracle {
    match value.kind() {
        Kind::Null => Oracle::Null,
        Kind::Bool => Oracle::Bool(value.as_bool().unwrap()),
        Kind::Number => serde_json::from_str(value.raw()).unwrap(),
        Kind::String => Oracle::String(value.as_str().unwrap().into_owned()),
        Kind::Array => Oracle::Array(value.elements().map(ours).collect()),
        Kind::Object => Oracle::Object(
            value.members().map(|(key, value)| (key.as_str().into_owned(), ours(value))).collect(),
        ),
    }
}

fn kept(value: Oracle) -> Oracle {
    let is_kept = |value: &Oracle| value.is_string() || value.is_array() || value.is_object();
    match value {
        Oracle::Array(values) => {
            Oracle::Array(values.into_iter().filter(is_kept).map(kept).collect())
        }
        Oracle::Object(members) => {
            Oracle::Object(members.into_iter().map(|(key, value)| (key, kept(value))).collect())
        }
        scalar => scalar,
    }
}

fn fault(bytes: &[u8]) -> Option<Fault> {
    read(bytes).err().map(|error| error.fault)
}

#[test]
fn what_rfc_8259_allows_is_read_as_serde_json_reads_it() {
    let accepted: [&str; 30] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1e5",
        "1E+5",
        "1.5e-5",
        "123456789012345678901234567890",
        "1e-999",
        "\"\"",
        "\"a\"",
        " \t\r\n1 \t\r\n",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1,2.5,\"a\",[],{},null,true]",
        "{\"a\":1,\"b\":{\"a\":2}}",
        "{\"\":0}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u00e9\\u0000\"",
        "\"\\uD83D\\uDE00\"",
        "\"\u{10FFFF}\u{2028}\u{7f}\u{FFFE}\"",
        "\"일이삼사오육칠팔구십\"",
        "\"exactly8\"",
        "\"sixteen bytes ..\\\"\"",
        "{\"a\":\"1\",\"\\u0062\":\"2\"}",
        "[[[[[[[[[[\"deep\"]]]]]]]]]]",
    ];
    for text in accepted {
        let document = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let oracle: Oracle = serde_json::from_str(text).unwrap();
        assert_eq!(ours(document.root()), kept(oracle), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_fault() {
    let refused: [(&[u8], Fault); 49] = [
        (b"", Fault::Early),
        (b" ", Fault::Early),
        (b"[", Fault::Early),
        (b"{", Fault::Early),
        (b"[1", Fault::Early),
        (b"{\"a\"", Fault::Early),
        (b"{\"a\":", Fault::Early),
        (b"{\"a\":1", Fault::Early),
        (b"\"a", Fault::Early),
        (b"\"\\", Fault::Early),
        (b"\"\\u00", Fault::Early),
        (b"tru", Fault::Early),
        (b"[1,]", Fault::Syntax),
        (b"[,1]", Fault::Syntax),
        (b"[1 2]", Fault::Syntax),
        (b"{\"a\":1,}", Fault::Syntax),
        (b"{a:1}", Fault::Syntax),
        (b"{1:1}", Fault::Syntax),
        (b"{\"a\" 1}", Fault::Syntax),
        (b"{'a':1}", Fault::Syntax),
        (b"[1}", Fault::Syntax),
        (b"NaN", Fault::Syntax),
        (b"Infinity", Fault::Syntax),
        (b"-Infinity", Fault::Number),
        (b"nan", Fault::Syntax),
        (b"True", Fault::Syntax),
        (b"// c\n1", Fault::Syntax),
        (b"\x0c1", Fault::Syntax),
        (b"+1", Fault::Syntax),
        (b".5", Fault::Syntax),
        (b"-", Fault::Number),
        (b"01", Fault::Number),
        (b"-01", Fault::Number),
        (b"1.", Fault::Number),
        (b"1.e5", Fault::Number),
        (b"1e", Fault::Number),
        (b"1e+", Fault::Number),
        (b"1e999", Fault::Number),
        (b"-1e999", Fault::Number),
        (b"0x1", Fault::Trailing),
        (b"1 2", Fault::Trailing),
        (b"{}{}", Fault::Trailing),
        (b"1\0", Fault::Trailing),
        (b"\"a\nb\"", Fault::Control),
        (b"\"\x00\"", Fault::Control),
        (b"\"1234567\x1f\"", Fault::Control),
        (b"\"\\x41\"", Fault::Escape),
        (b"\"\\u00g0\"", Fault::Escape),
        (b"\"\\U0041\"", Fault::Escape),
    ];
    for (bytes, expected) in refused {
        assert_eq!(fault(bytes), Some(expected), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn bytes_that_are_not_one_utf_8_text_are_refused() {
    assert_eq!(fault(b"\"\xff\""), Some(Fault::NotUtf8));
    assert_eq!(fault(b"\"\xc0\xaf\""), Some(Fault::NotUtf8), "overlong");
    assert_eq!(fault(b"\"\xed\xa0\x80\""), Some(Fault::NotUtf8), "surrogate in utf-8");
    assert_eq!(fault(b"\xff\xfe{\0}\0"), Some(Fault::NotUtf8), "utf-16");
    assert_eq!(fault(b"\xef\xbb\xbf{}"), Some(Fault::ByteOrderMark));
    for half in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud800\n""#]
    {
        assert_eq!(fault(half.as_bytes()), Some(Fault::Surrogate), "{half}");
    }
}

#[test]
fn keys_that_a_reader_could_confuse_are_refused() {
    let same = [
        (r#"{"a":1,"a":1}"#, "the same key"),
        (r#"{"a":1,"\u0061":2}"#, "the same but for an escape"),
        (r#"{"task":1,"Task":2}"#, "ascii case"),
        ("{\"task\":1,\"tas\u{212A}\":2}", "kelvin sign"),
        (r#"{"task":1,"tas\u212a":2}"#, "kelvin sign, escaped"),
        ("{\"tools\":1,\"tool\u{17F}\":2}", "long s"),
        ("{\"\u{e9}\":1,\"\u{c9}\":2}", "latin"),
        ("{\"\u{3c3}\":1,\"\u{3c2}\":2}", "final sigma"),
        ("{\"\u{3c9}\":1,\"\u{2126}\":2}", "ohm sign"),
        ("{\"\u{e5}\":1,\"\u{212B}\":2}", "angstrom sign"),
        ("{\"\u{3b8}\":1,\"\u{3f4}\":2}", "capital theta symbol"),
        ("{\"\u{df}\":1,\"\u{1e9e}\":2}", "sharp s"),
        ("{\"\u{1c6}\":1,\"\u{1c5}\":2}", "title case digraph"),
        ("{\"\u{3b9}\":1,\"\u{345}\":2}", "iota subscript"),
        ("{\"id\":1,\"\u{130}d\":2}", "dotted i"),
        ("{\"id\":1,\"\u{131}d\":2}", "dotless i"),
        ("{\"\u{13a0}\":1,\"\u{ab70}\":2}", "cherokee"),
        ("{\"\u{10400}\":1,\"\u{10428}\":2}", "deseret, outside the basic plane"),
        (r#"{"x":[{"y":{"a":1,"A":2}}]}"#, "deep inside"),
    ];
    for (text, why) in same {
        assert_eq!(fault(text.as_bytes()), Some(Fault::SameKeys), "{why}");
        assert!(Fault::SameKeys.is_ambiguous());
    }
    let apart =
        [r#"{"a":{"a":{"a":1}}}"#, r#"[{"a":1},{"a":2}]"#, r#"{"k":1,"c":2,"s":3,"i":4,"ſs":5}"#];
    for text in apart {
        assert_eq!(fault(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn many_keys_are_told_apart_and_one_twin_among_them_is_found() {
    let keys: Vec<String> = (0..5_000).map(|at| format!("\"key{at}\":0")).collect();
    assert_eq!(fault(format!("{{{}}}", keys.join(",")).as_bytes()), None);
    let twin = format!("{{{},\"KEY17\":0}}", keys.join(","));
    assert_eq!(fault(twin.as_bytes()), Some(Fault::SameKeys));
}

#[test]
fn a_key_tells_what_a_folding_reader_takes_it_for() {
    let text = "{\"model\":0,\"Model\u{212A}\":0,\"mo\\u0064els\":0,\"일\":0}";
    let document = read(text.as_bytes()).unwrap();
    let folded: Vec<_> = document.root().members().map(|(key, _)| key.folded()).collect();
    assert_eq!(folded, [None, Some("modelk".to_owned()), None, None]);
}

#[test]
fn depth_and_size_have_their_limits_exactly() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(deep(DEPTH_MAX).as_bytes()), None);
    assert_eq!(fault(deep(DEPTH_MAX + 1).as_bytes()), Some(Fault::Depth));
    assert_eq!(fault("[".repeat(1_000_000).as_bytes()), Some(Fault::Depth));
    let wide = |values: usize| format!("[{}]", vec!["\"\""; values].join(","));
    assert_eq!(fault(wide(NODES_MAX - 1).as_bytes()), None);
    assert_eq!(fault(wide(NODES_MAX).as_bytes()), Some(Fault::TooMany));
    let tokens = format!("[{}]", vec!["7"; 2 * NODES_MAX].join(","));
    assert_eq!(fault(tokens.as_bytes()), None, "token ids take no room");
}

fn json() -> impl Strategy<Value = Oracle> {
    let leaf = prop_oneof![
        Just(Oracle::Null),
        any::<bool>().prop_map(Oracle::from),
        any::<i64>().prop_map(Oracle::from),
        any::<f64>().prop_map(Oracle::from),
        any::<String>().prop_map(Oracle::from),
        "[a-zA-Z\u{17F}\u{212A}\"\\\\ \u{1}é일]{0,24}".prop_map(Oracle::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Oracle::from),
            prop::collection::vec(("[a-eK\u{212A}é\\\\]{0,3}", inner), 0..8)
                .prop_map(|members| Oracle::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What `serde_json` writes is read back as it was, unless it holds two keys of one fold.
    #[test]
    fn what_serde_json_writes_is_read_the_same(value in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        match read(text.as_bytes()) {
            Ok(document) => prop_assert_eq!(ours(document.root()), kept(serde_json::from_str(&text).unwrap())),
            Err(error) => prop_assert_eq!(error.fault, Fault::SameKeys),
        }
    }

    /// A damaged text is refused, or read as `serde_json` reads it: never accepted where it refuses.
    #[test]
    fn what_is_accepted_serde_json_accepts_too(
        value in json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\{}[],:0e-u."[..])]), 1..4),
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(document) = read(&bytes) {
            let oracle = serde_json::from_slice(&bytes);
            prop_assert!(oracle.is_ok(), "we accept what serde_json refuses: {:?}", String::from_utf8_lossy(&bytes));
            prop_assert_eq!(ours(document.root()), kept(oracle.unwrap()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
    }
}
