//! Where a cluster lies: its directory, its data, its socket, its log, and the lock that says who uses it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{PostgresError, account::Account};

/// The paths of one cluster. Only its account may enter `dir` and `socket`.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) socket: PathBuf,
    /// Held while we live; the kernel lets go of it however we die.
    _lock: File,
}

impl Place {
    /// Makes or takes over `dir`, and locks it.
    pub(super) fn prepare(dir: &Path, account: Option<&Account>) -> Result<Self, PostgresError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| PostgresError::File { path, source }
        };
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let dir = dir.canonicalize().map_err(at(dir))?;
        if !is_ours(&dir).map_err(at(&dir))? {
            return Err(PostgresError::Occupied { dir });
        }
        if let Some(account) = account {
            account.can_reach(&dir)?;
        }
        let lock = lock(&dir)?;
        private(&dir, account).map_err(at(&dir))?;
        let socket = socket_dir(&dir, Path::new(SHORT_ROOT))?;
        if socket.starts_with(&dir) {
            std::fs::create_dir_all(&socket).map_err(at(&socket))?;
        } else {
            claim_short(&socket, account)?;
        }
        private(&socket, account).map_err(at(&socket))?;
        Ok(Self { dir, socket, _lock: lock })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server's stderr, appended to over all its starts.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// Postgres' own note of its process id and directory.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    /// Which version made the data, if there are any.
    pub(super) fn major(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// `dir/run`, or a short directory under `short_root` when the socket's path would be too long for the kernel.
pub(super) fn socket_dir(dir: &Path, short_root: &Path) -> Result<PathBuf, PostgresError> {
    let near = dir.join("run");
    if socket_bytes(&near) <= SOCKET_PATH_BYTES_MAX {
        return Ok(near);
    }
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    let short = short_root.join(format!("haetae-{:016x}", hasher.finish()));
    match socket_bytes(&short) {
        length if length > SOCKET_PATH_BYTES_MAX => Err(PostgresError::SocketPath {
            path: near.join(SOCKET_NAME),
            length: socket_bytes(&near),
            max: SOCKET_PATH_BYTES_MAX,
        }),
        _ => Ok(short),
    }
}

fn socket_bytes(dir: &Path) -> usize {
    dir.join(SOCKET_NAME).as_os_str().len()
}

/// Empty, or made by us: we never take over somebody's directory and change its mode.
fn is_ours(dir: &Path) -> std::io::Result<bool> {
    Ok(dir.join(LOCK_NAME).exists() || std::fs::read_dir(dir)?.next().is_none())
}

fn lock(dir: &Path) -> Result<File, PostgresError> {
    let path = dir.join(LOCK_NAME);
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let file = opened.map_err(|source| PostgresError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PostgresError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(PostgresError::File { path, source }),
    }
}

/// The short directory lies where others may write, so it must be newly ours or already ours, and no link.
fn claim_short(path: &Path, account: Option<&Account>) -> Result<(), PostgresError> {
    if DirBuilder::new().mode(0o700).create(path).is_ok() {
        return Ok(());
    }
    let uid = account.map_or_else(|| rustix::process::geteuid().as_raw(), Account::uid);
    let facts = std::fs::symlink_metadata(path)
        .map_err(|source| PostgresError::File { path: path.to_owned(), source })?;
    if facts.is_dir() && facts.uid() == uid {
        return Ok(());
    }
    Err(PostgresError::Foreign { path: path.to_owned() })
}

fn private(path: &Path, account: Option<&Account>) -> std::io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    account.map_or(Ok(()), |account| account.own(path))
}

/// `sun_path` of unix(7) is 108 bytes with its closing zero, 104 on macOS.
const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The name Postgres gives its socket for port 5432.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

const LOCK_NAME: &str = "haetae.lock";

const SHORT_ROOT: &str = "/tmp";

#[cfg(test)]
mod tests {
    //! The socket stays in the directory while the kernel allows it, moves when it does not, and says so when neither fits.
    use super::*;

    #[test]
    fn the_socket_stays_in_the_directory_up_to_the_last_byte() {
        // "/" + name + "/run/" + 13 bytes of socket name = the limit
        let fits = format!("/{}", "d".repeat(SOCKET_PATH_BYTES_MAX - 1 - 5 - 13));
        let near = socket_dir(Path::new(&fits), Path::new("/tmp")).unwrap();
        assert_eq!(near, Path::new(&fits).join("run"));
        assert_eq!(socket_bytes(&near), SOCKET_PATH_BYTES_MAX);
    }

    #[test]
    fn a_longer_one_moves_to_a_short_directory_that_depends_on_the_long_one() {
        let long = |last: &str| format!("/{}{last}", "d".repeat(SOCKET_PATH_BYTES_MAX));
        let one = socket_dir(Path::new(&long("a")), Path::new("/tmp")).unwrap();
        let two = socket_dir(Path::new(&long("b")), Path::new("/tmp")).unwrap();
        assert!(one.starts_with("/tmp") && two.starts_with("/tmp"));
        assert_ne!(one, two);
    }

    #[test]
    fn when_neither_fits_the_message_names_the_path_and_the_limit() {
        let long = format!("/{}", "d".repeat(120));
        let error = socket_dir(Path::new(&long), Path::new(&long)).unwrap_err().to_string();
        let expected = format!(
            "the socket path `{long}/run/.s.PGSQL.5432` has 139 bytes and the system allows {SOCKET_PATH_BYTES_MAX}: choose a shorter directory"
        );
        assert_eq!(error, expected);
    }
}
