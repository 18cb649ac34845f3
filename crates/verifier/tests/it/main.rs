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

/// What lies beside the file can be from who is checked: it neither fills the memory nor moves the cursor.
#[test]
fn what_lies_beside_is_bounded_and_shown_as_text() {
    let folder = std::env::temp_dir().join(format!("haetae-beside-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory");
    let (huge, evil) = (folder.join("huge"), folder.join("evil"));
    let sparse = std::fs::File::create(&huge).expect("it is made");
    sparse.set_len(1 << 40).expect("it takes no room");
    std::fs::write(&evil, "\u{1b}[2K".repeat(100)).expect("it is written");
    let (huge, evil) = (huge.to_str().expect("UTF-8"), evil.to_str().expect("UTF-8"));
    for option in ["--trust", "--checkpoint", "--bundles"] {
        let (code, _, err) = run(&[option, huge, huge]);
        assert!(code == Some(2) && err.contains("it is longer than"), "{option}: {code:?} {err}");
    }
    let (code, _, err) = run(&["--bundles", evil, huge]);
    assert!(code == Some(2) && err.contains(r"\u{1b}[2K") && err.len() < 1_000, "{code:?} {err}");
    assert!(!err.contains('\u{1b}'), "{err}");
    std::fs::remove_dir_all(folder).expect("it is removed");
}

/// As an archive made where names are in another encoding leaves them.
#[cfg(unix)]
#[test]
fn names_that_are_no_utf_8_are_names_of_files_and_nothing_else() {
    use std::os::unix::ffi::OsStrExt as _;

    let name = std::ffi::OsStr::from_bytes(b"\xc1\xf5\xb0\xc5.export");
    let folder = std::env::temp_dir().join(format!("haetae-names-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a directory");
    let path = folder.join(name);
    std::fs::write(&path, "something else").expect("it is written");
    let ran = |words: &[&std::ffi::OsStr]| {
        let program = env!("CARGO_BIN_EXE_haetae-verify");
        let Output { status, stderr, .. } =
            Command::new(program).args(words).output().expect("it starts");
        (status.code(), String::from_utf8(stderr).expect("it writes UTF-8"))
    };
    for (words, said) in [
        (vec![path.as_os_str()], "not an export of version 1"),
        (vec!["--checkpoint".as_ref(), path.as_os_str()], "something else than signed checkpoints"),
        (vec!["--lang".as_ref(), name], "is no language here"),
        (vec!["--key".as_ref(), name], "not a key of the form"),
    ] {
        let (code, err) = ran(&words);
        assert!(code == Some(2) && err.contains(said), "{words:?}: {code:?} {err}");
    }
    std::fs::remove_dir_all(folder).expect("it is removed");
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
