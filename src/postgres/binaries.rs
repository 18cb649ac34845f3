//! Where this system keeps Postgres, and how it would be installed here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// A directory with `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub bin: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// The newest usable version, or exactly version `major` when a cluster made by it exists.
    pub fn find(major: Option<u32>) -> Option<Self> {
        candidates()
            .into_iter()
            .filter_map(Self::at)
            .filter(|found| major.map_or(found.major >= MAJOR_MIN, |wanted| found.major == wanted))
            .rev() // the last of equals wins below, and the first in our order should
            .max_by_key(|found| found.major)
    }

    /// The same, with the sentence that says what to install.
    pub(super) fn required(dir: &Path, major: Option<u32>) -> Result<Self, PostgresError> {
        Self::find(major).ok_or_else(|| match major {
            Some(major) => PostgresError::OtherVersion { dir: dir.to_owned(), major },
            None => PostgresError::NoBinaries { hint: install_hint() },
        })
    }

    fn at(bin: PathBuf) -> Option<Self> {
        if !bin.join("initdb").is_file() || !bin.join("postgres").is_file() {
            return None;
        }
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin, major })
    }
}

/// The one command that installs Postgres on this system.
#[must_use]
pub fn install_hint() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install postgresql@17";
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    hint_for(&release)
}

fn hint_for(os_release: &str) -> &'static str {
    let family: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split(' '))
        .collect();
    let is = |names: &[&str]| family.iter().any(|id| names.contains(id));
    if is(&["debian", "ubuntu"]) {
        "sudo apt-get install -y postgresql"
    } else if is(&["fedora", "rhel", "centos"]) {
        "sudo dnf install -y postgresql-server"
    } else if is(&["alpine"]) {
        "sudo apk add postgresql"
    } else if is(&["arch"]) {
        "sudo pacman -S postgresql"
    } else {
        "your package manager's postgresql package"
    }
}

/// `postgres (PostgreSQL) 15.8 (Debian ...)` -> 15.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(char::is_numeric))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, suffix) in LAYOUTS {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        let named = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join(suffix));
        found.extend(named);
    }
    if let Some(path) = std::env::var_os("PATH") {
        found.extend(std::env::split_paths(&path));
    }
    found
}

/// Postgres 14 brought lz4 for stored values, which the audit log's batches use.
const MAJOR_MIN: u32 = 14;

/// (directory, start of an entry's name, path inside it to the programs).
const LAYOUTS: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                  // the PostgreSQL project's RPMs
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql", "bin"),    // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

#[cfg(test)]
mod tests {
    //! Versions and systems are read from the texts that real systems print.
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_prints() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(major_of("no version here\n"), None);
    }

    #[test]
    fn each_family_gets_its_own_command() {
        let ubuntu = "PRETTY_NAME=\"Ubuntu 24.04\"\nID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(hint_for(ubuntu), "sudo apt-get install -y postgresql");
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert_eq!(hint_for(rocky), "sudo dnf install -y postgresql-server");
        assert_eq!(hint_for(""), "your package manager's postgresql package");
    }
}
