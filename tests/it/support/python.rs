//! A Python that has what docs/verify.py imports.

use std::process::Command;
use std::sync::LazyLock;

/// The interpreter; the same that `scripts/need python` makes sure of.
pub fn python() -> &'static str {
    static FOUND: LazyLock<Option<&str>> = LazyLock::new(|| {
        let works = |python: &&str| {
            let probe = Command::new(python).args(["-c", "import cryptography"]).output();
            probe.is_ok_and(|output| output.status.success())
        };
        ["python3", "/usr/bin/python3"].into_iter().find(works)
    });
    FOUND.expect("Python with `cryptography` is missing: run `scripts/need python`")
}
