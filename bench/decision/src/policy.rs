//! The product's own engines, compiled from its own files (the folder is a link): what is measured is what runs.

pub mod engine;
pub mod memo;
pub mod replay;
pub mod rulebook;
