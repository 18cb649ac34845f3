//! (to be written)

pub mod strict;
