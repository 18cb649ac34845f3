//! Randomness of the room: nonces, salts, record ids.

use uuid::Uuid;

use super::AuditError;

/// Fresh random bytes from the operating system.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], AuditError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AuditError::Chance)?;
    Ok(bytes)
}

/// An id of a record (UUID of version 7, RFC 9562) at a time in nanoseconds since 1970.
pub(super) fn id(at_ns: i64, chance: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(at_ns / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, chance).into_uuid()
}

/// A pool of random bytes, so that a record costs no system call. Every byte is handed out once.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: Box<[u8; POOL_BYTES]>,
    used: usize,
}

impl Pool {
    pub fn new() -> Self {
        Self { bytes: Box::new([0; POOL_BYTES]), used: POOL_BYTES }
    }

    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], AuditError> {
        const { assert!(N <= POOL_BYTES) }
        if self.used + N > POOL_BYTES {
            getrandom::fill(&mut self.bytes[..]).map_err(|_| AuditError::Chance)?;
            self.used = 0;
        }
        let next = self.bytes.get(self.used..).and_then(|rest| rest.first_chunk());
        self.used += N;
        next.copied().ok_or(AuditError::Chance)
    }
}

/// 157 records of 26 bytes (id 10, nonce 16) for one system call.
const POOL_BYTES: usize = 4_096;
