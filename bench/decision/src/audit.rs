//! The product's own reader of export files, compiled from its own file.

pub mod recorded {
    pub use super::file::ExportFile;
}

#[path = "../../../src/audit/recorded/file.rs"]
mod file;

/// As the product's, as far as that file needs it.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{0}")]
    Content(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
