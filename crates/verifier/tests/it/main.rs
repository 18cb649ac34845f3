//! What the program says and returns when it is asked wrongly or given something else than an export. What it finds in
//! exports is proved in the gateway's tests, which have a judge's rules and records at hand.

#![expect(clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod approved;
mod disclosures;
mod kept;

use std::process::{Command, Output};

fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_haetae-verify")).args(words).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_names_every_option_and_exit_code() {
    for words in [&["--help"], &["-h"]] {
        let (code, out, err) = run(words);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        for word in
            ["--trust", "--key", "--bundles", "--lang", "--json", "0 whole", "1 ", "2 ", "3 "]
        {
            assert!(out.contains(word), "{word}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_said_with_exit_code_2() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (words, said) in [
        (vec![], "which file? see `--help`"),
        (vec!["no/such/file"], "the file cannot be read: No such file or directory"),
        (vec![file], "not an export of version 1"),
        (vec![file, file], "one file at a time"),
        (vec![file, "--fast"], "`--fast` is not an option: see `--help`"),
        (vec![file, "--lang", "fr"], "`fr` is no language here: say `en` or `ko`"),
        (vec![file, "--key"], "`--key` wants a value"),
        (vec![file, "--key", "abc"], "`--key abc`: not a key of the form name+id+base64"),
        (
            vec![file, "--trust", file],
            "line 1: neither a `log`, a `witness`, a `group` nor a `quorum`",
        ),
        (
            vec![
                file,
                "--trust",
                "x",
                "--key",
                "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            ],
            "`--trust` and `--key` at once",
        ),
    ] {
        let (code, out, err) = run(&words);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{words:?}");
        assert!(err.starts_with("haetae-verify: ") && err.contains(said), "{words:?}: {err}");
    }
}
