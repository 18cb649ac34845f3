//! As whom Postgres runs: it refuses root, so root lends it an account that can reach the directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::PostgresError;

/// A line of the password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` for an ordinary user, who runs Postgres as itself; for root `postgres`, or else `nobody`.
    pub(super) fn to_lend() -> Result<Option<Self>, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::named(&passwd, name));
        found.map(Some).ok_or(PostgresError::NoAccount)
    }

    /// Makes `command` run as this account; std also drops root's supplementary groups.
    pub(super) fn lend(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
    }

    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Every parent of `dir` must let this account through (the x bit of owner, group or others).
    pub(super) fn can_reach(&self, dir: &Path) -> Result<(), PostgresError> {
        for parent in dir.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            let Ok(facts) = parent.metadata() else { continue };
            let bit = if facts.uid() == self.uid {
                0o100
            } else if facts.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if facts.permissions().mode() & bit == 0 {
                return Err(PostgresError::NotTraversable {
                    user: self.name.clone(),
                    parent: parent.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// `name:password:uid:gid:...` (passwd(5)).
    fn named(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), uid, gid })
    }
}
