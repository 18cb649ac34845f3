//! What was typed becomes what it means: one file for each subcommand.

pub mod decide;
pub mod policy;
pub mod registry;
